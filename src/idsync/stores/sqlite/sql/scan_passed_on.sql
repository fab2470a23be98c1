-- Looks at the next ?3 inbox rows after ?1 up to ?2: the last of them; a single read.
SELECT max(seq) FROM (SELECT seq FROM inbox WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)
