-- Reads those of a stretch of accepted events that go out, oldest first, by what they are, with the keys that open their bodies;
-- a single read.
SELECT i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before, e.key
FROM (
  SELECT * FROM inbox
  WHERE seq > $1 AND seq <= $2 AND event_id IS NOT NULL
    AND ($3::bigint IS NULL OR received_at >= $3) AND ($4::bigint IS NULL OR received_at < $4)
    AND ($5::text IS NULL OR event_subject = $5)
  ORDER BY seq
  LIMIT $6
) AS i
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = i.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
ORDER BY i.seq
