-- Reads what went out for many inbox rows, with the keys that open it; bodies only where they are wanted; a single read.
SELECT k.seq, i.event_id, i.event_type, CASE WHEN k.has_body THEN i.body ELSE '' END, i.trace, i.not_before, i.entity, e.key
FROM unnest($1::bigint[], $2::boolean[]) AS k (seq, has_body)
CROSS JOIN LATERAL (
  SELECT x.event_id, x.event_type, x.body, x.trace, x.not_before, x.entity FROM inbox AS x WHERE x.seq = k.seq OFFSET 0
) AS i
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = i.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
