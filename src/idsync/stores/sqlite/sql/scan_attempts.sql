-- Looks at the next ?3 attempts after ?2: the last of them, and how many were made before ?1; in a write transaction.
SELECT max(id), count(*) FILTER (WHERE at < ?1)
FROM (SELECT id, at FROM attempt WHERE id > ?2 ORDER BY id LIMIT ?3)
