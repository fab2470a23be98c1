-- Reads the newest conflicts first, of all entities, with the keys that open them; a single read.
SELECT c.entity, c.at, c.doc, e.key
FROM (SELECT * FROM conflict ORDER BY id DESC LIMIT $1) AS c
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = c.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
ORDER BY c.id DESC
