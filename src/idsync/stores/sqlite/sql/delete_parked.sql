-- Ends parked rows, in the transaction that settles them.
DELETE FROM parked WHERE id IN (SELECT k.value FROM json_each(?) AS k)
