-- Finds the first entity that claims each of many (kind, e-mail); sees what was committed before it began.
SELECT k.kind, k.email, m.entity
FROM unnest($1::text[], $2::text[]) AS k (kind, email)
CROSS JOIN LATERAL (
  SELECT x.entity FROM email AS x WHERE x.email = k.email AND x.kind = k.kind ORDER BY x.claim LIMIT 1
) AS m
