-- Reads those of a stretch of accepted events that go out, oldest first, by what they are, with the keys that open their bodies;
-- a single read.
SELECT i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before, e.key
FROM inbox AS i
LEFT JOIN entity AS e ON e.id = i.entity
WHERE i.seq > ?1 AND i.seq <= ?2 AND i.event_id IS NOT NULL
  AND (?3 IS NULL OR i.received_at >= ?3) AND (?4 IS NULL OR i.received_at < ?4) AND (?5 IS NULL OR i.event_subject = ?5)
ORDER BY i.seq
LIMIT ?6
