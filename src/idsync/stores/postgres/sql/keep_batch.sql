-- Copies batches into the open slot before their own is emptied, in the same transaction.
INSERT INTO batch (slot, lane, tick, last, ids)
SELECT r.slot, b.lane, b.tick, b.last, b.ids
FROM ring AS r CROSS JOIN batch AS b
WHERE r.name = 'batch' AND b.slot = $1 AND b.last = ANY ($2::bigint[])
