-- Finds what an operator may mean: an e-mail, an entity's id, a peer's id, each with or without its kind; a single read.
SELECT e.doc
FROM entity AS e
WHERE e.id IN (
    SELECT m.entity FROM email AS m WHERE m.email = ?1
    UNION SELECT x.id FROM entity AS x WHERE x.id = ?1 OR (x.id = ?3 AND x.kind = ?2)
    UNION SELECT l.entity FROM link AS l WHERE l.external_id = ?1 OR (l.external_id = ?3 AND l.kind = ?2)
  )
ORDER BY e.id
LIMIT ?4
