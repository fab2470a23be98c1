-- Reads accepted events by their keys (peer, id), oldest first, with the keys that open their bodies; a single read.
SELECT i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before, e.key
FROM unnest($1::text[], $2::text[]) AS k (peer, id)
CROSS JOIN LATERAL (SELECT x.* FROM inbox AS x WHERE x.id = k.id AND x.peer = k.peer OFFSET 0) AS i
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = i.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
ORDER BY i.seq
