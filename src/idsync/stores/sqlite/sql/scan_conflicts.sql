-- Looks at the next ?3 conflicts after ?2: the last of them, and how many are from before ?1; in a write transaction.
SELECT max(id), count(*) FILTER (WHERE at < ?1)
FROM (SELECT id, at FROM conflict WHERE id > ?2 ORDER BY id LIMIT ?3)
