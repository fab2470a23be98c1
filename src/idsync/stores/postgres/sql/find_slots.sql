-- Reads how large each slot of a growing table is, which one is open, and since when; a single read.
SELECT s.slot, pg_relation_size(format('%I_%s', r.name, s.slot)::regclass), s.slot = r.slot, r.opened_at
FROM ring AS r CROSS JOIN generate_series(1, 4) AS s (slot)
WHERE r.name = $1
ORDER BY s.slot
