-- Ends parked rows, in the transaction that settles them.
DELETE FROM parked WHERE id = ANY ($1::bigint[])
