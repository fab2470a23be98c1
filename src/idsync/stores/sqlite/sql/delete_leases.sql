-- Gives leases back, as far as they are the holder's, in a write transaction.
DELETE FROM lease WHERE holder = ?1 AND name IN (SELECT k.value FROM json_each(?2) AS k)
