-- Ends waits, in the transaction that settles their rows.
DELETE FROM wait WHERE seq = ANY ($1::bigint[])
