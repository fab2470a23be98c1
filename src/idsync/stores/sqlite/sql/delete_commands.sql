-- Ends commands, in the transaction that carries them out.
DELETE FROM command WHERE id IN (SELECT k.value FROM json_each(?) AS k)
