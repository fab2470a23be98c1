-- Finds since when the oldest open delivery of each destination waits: of each lane the first past its position, and of what is
-- parked the one that was tried first; part of one moment.
SELECT destination, min(since)
FROM (
  SELECT l.destination, (
    SELECT d.queued_at FROM delivery AS d WHERE d.lane = l.id AND d.id > l.position ORDER BY d.id LIMIT 1
  ) AS since
  FROM lane AS l
  UNION ALL
  SELECT l.destination, (
    SELECT min(p.first_at) FROM parked AS p WHERE p.destination = l.destination AND p.state = ?
  )
  FROM (SELECT DISTINCT destination FROM lane) AS l
)
GROUP BY destination
HAVING min(since) IS NOT NULL
