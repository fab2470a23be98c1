-- Reads accepted events after a sequence up to another, oldest first, with the keys that open their bodies; a single read.
SELECT i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before, e.key
FROM (SELECT * FROM inbox WHERE seq > $1 AND seq <= $3 ORDER BY seq LIMIT $2) AS i
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = i.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
ORDER BY i.seq
