-- Reads many entities by id, each from its newest version down; a single read.
SELECT e.doc
FROM unnest($1::text[]) AS k (id)
CROSS JOIN LATERAL (SELECT x.doc FROM entity AS x WHERE x.id = k.id ORDER BY x.rev DESC LIMIT 1) AS e
