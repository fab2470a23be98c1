-- Finds the deliveries of one event that still stand in lanes, and whether each is open: without a place yet, or past its
-- lane's position; a single read.
SELECT d.id, l.destination, d.subject,
  NOT pg_visible_in_snapshot(d.xid, t.snapshot) OR EXISTS (
    SELECT FROM batch AS b
    WHERE b.lane = d.lane AND b.tick >= coalesce(p.tick, 0) AND d.id = ANY (b.ids)
      AND (b.tick > coalesce(p.tick, 0) OR d.id > coalesce(p.id, 0))
  )
FROM delivery AS d
JOIN lane AS l ON l.id = d.lane
CROSS JOIN (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
LEFT JOIN LATERAL (
  SELECT g.tick, g.id FROM progress AS g WHERE g.lane = d.lane ORDER BY g.tick DESC, g.id DESC LIMIT 1
) AS p ON true
WHERE d.event = $1
