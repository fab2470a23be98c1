-- Reads parked rows in id order after one, by destination, subject, state and lanes where given; a single read.
SELECT p.id, p.destination, p.lane, p.subject, p.event, p.version, p.event_id, p.event_type, p.body, p.reason, p.attempts,
  p.retry_at, p.state, p.parked_at, p.first_at, p.trace, p.entity, e.key
FROM parked AS p
LEFT JOIN entity AS e ON e.id = p.entity
WHERE p.id > ?1
  AND (?2 IS NULL OR p.destination = ?2) AND (?3 IS NULL OR p.subject = ?3) AND (?4 IS NULL OR p.state = ?4)
  AND (?5 IS NULL OR p.lane IN (SELECT k.value FROM json_each(?5) AS k))
ORDER BY p.id
LIMIT ?6
