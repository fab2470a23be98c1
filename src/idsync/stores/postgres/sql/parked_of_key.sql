-- Reads the parked rows of one key, (destination, subject), in id order after one, by state and lanes where given; a single
-- read.
SELECT p.id, p.destination, p.lane, p.subject, p.event, p.version, p.event_id, p.event_type, p.body, p.reason, p.attempts,
  p.retry_at, p.state, p.parked_at, p.first_at, p.trace, p.entity, e.key
FROM parked AS p
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = p.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
WHERE p.id > $1
  AND p.destination = $2 AND p.subject = $3
  AND ($4::text IS NULL OR p.state = $4) AND ($5::integer[] IS NULL OR p.lane = ANY ($5))
ORDER BY p.id
LIMIT $6
