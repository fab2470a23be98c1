-- Reads many entities by id, as one JSON text; part of one moment.
SELECT '[' || ifnull(group_concat(CAST(e.doc AS TEXT), ','), '') || ']'
FROM json_each(?) AS k
CROSS JOIN entity AS e ON e.id = k.value
