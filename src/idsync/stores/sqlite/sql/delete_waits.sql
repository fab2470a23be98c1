-- Ends waits, in the transaction that settles their rows.
DELETE FROM wait WHERE seq IN (SELECT k.value FROM json_each(?) AS k)
