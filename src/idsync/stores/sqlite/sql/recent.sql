-- Reads accepted events after a sequence, oldest first, with the keys that open their bodies; a single read.
SELECT i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before, e.key
FROM inbox AS i
LEFT JOIN entity AS e ON e.id = i.entity
WHERE i.seq > ?
ORDER BY i.seq
LIMIT ?
