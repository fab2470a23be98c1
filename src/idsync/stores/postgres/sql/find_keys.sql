-- Reads the keys of many entities, each from its newest version down; in a plan's transaction, or by itself.
SELECT k.id, e.key
FROM unnest($1::text[]) AS k (id)
CROSS JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = k.id ORDER BY x.rev DESC LIMIT 1) AS e
