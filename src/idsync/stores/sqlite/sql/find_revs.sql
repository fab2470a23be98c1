-- Reads the rev and the key of many entities, in the write transaction: what was read before is compared with it.
SELECT e.id, e.rev, e.key FROM json_each(?) AS k CROSS JOIN entity AS e ON e.id = k.value
