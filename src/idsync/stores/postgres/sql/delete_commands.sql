-- Ends commands, in the transaction that carries them out.
DELETE FROM command WHERE id = ANY ($1::bigint[])
