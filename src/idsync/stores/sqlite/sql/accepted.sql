-- Reads accepted events by their keys (peer, id), oldest first, with the keys that open their bodies; a single read.
SELECT i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before, e.key
FROM json_each(?) AS k
CROSS JOIN inbox AS i ON i.peer = k.value ->> 0 AND i.id = k.value ->> 1
LEFT JOIN entity AS e ON e.id = i.entity
ORDER BY i.seq
