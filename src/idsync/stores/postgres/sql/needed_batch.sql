-- Finds the batches of a slot that are not behind the position of their lane, each by its last delivery.
SELECT b.last
FROM lane AS l
LEFT JOIN LATERAL (
  SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
) AS p ON true
JOIN batch AS b ON b.lane = l.id AND b.tick >= coalesce(p.tick, 0)
WHERE b.slot = $1 AND (b.tick > coalesce(p.tick, 0) OR b.last > coalesce(p.id, 0))
