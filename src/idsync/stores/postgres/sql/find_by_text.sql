-- Finds what an operator may mean: an e-mail, an entity's id, a peer's id, each with or without its kind; a single read.
SELECT e.doc::json
FROM (
  (SELECT m.entity FROM email AS m WHERE m.email = $1 LIMIT $4)
  UNION ALL (SELECT x.id FROM entity AS x WHERE x.id = $1 LIMIT 1)
  UNION ALL (SELECT x.id FROM entity AS x WHERE x.id = $3 AND x.kind = $2 LIMIT 1)
  UNION ALL (SELECT l.entity FROM link AS l WHERE l.external_id = $1 LIMIT $4)
  UNION ALL (SELECT l.entity FROM link AS l WHERE l.external_id = $3 AND l.kind = $2 LIMIT $4)
) AS k
CROSS JOIN LATERAL (
  SELECT x.id, x.doc::text AS doc FROM entity AS x WHERE x.id = k.entity ORDER BY x.rev DESC LIMIT 1
) AS e
GROUP BY e.id, e.doc
ORDER BY e.id
LIMIT $4
