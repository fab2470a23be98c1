-- Reads deliveries past many (lane, id), at most ?2 for each lane, in id order, with what opens their bodies; a single read.
-- A Target writes the entity as it is now, so its body stays where it is.
SELECT 0, d.id, d.lane, d.subject, d.event, d.version, i.event_id, i.event_type,
  CASE WHEN l.is_target THEN x'' ELSE i.body END, i.trace, i.not_before, d.queued_at, i.entity, e.key
FROM json_each(?1) AS k
CROSS JOIN lane AS l ON l.id = k.value ->> 0
CROSS JOIN delivery AS d ON d.lane = l.id AND d.id > k.value ->> 1 AND d.id <= (
  SELECT max(n.id)
  FROM (SELECT x.id FROM delivery AS x WHERE x.lane = l.id AND x.id > k.value ->> 1 ORDER BY x.id LIMIT ?2) AS n
)
LEFT JOIN inbox AS i ON i.seq = d.event
LEFT JOIN entity AS e ON e.id = i.entity
ORDER BY d.lane, d.id
