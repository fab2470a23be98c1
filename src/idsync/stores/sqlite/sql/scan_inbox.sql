-- Looks at the next ?3 inbox rows after ?2: the last of them, and how many came before ?1; in a write transaction.
SELECT max(seq), count(*) FILTER (WHERE received_at < ?1)
FROM (SELECT seq, received_at FROM inbox WHERE seq > ?2 ORDER BY seq LIMIT ?3)
