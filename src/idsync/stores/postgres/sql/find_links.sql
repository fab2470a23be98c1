-- Finds the entities behind many (peer, kind, external id); sees what was committed before it began.
SELECT k.peer, k.kind, k.external_id, l.entity
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (peer, kind, external_id)
CROSS JOIN LATERAL (
  SELECT x.entity FROM link AS x
  WHERE x.external_id = k.external_id AND x.kind = k.kind AND x.peer = k.peer
  OFFSET 0
) AS l
