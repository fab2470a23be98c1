-- Reads the lanes of some destinations, older generations first: all of the newest, and of older ones those that are not
-- empty yet; with the place that each has reached.
SELECT l.id, l.destination, l.generation, l.level, l.number, coalesce(p.tick, 0), coalesce(p.id, 0)
FROM lane AS l
LEFT JOIN LATERAL (
  SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
) AS p ON true
WHERE l.destination = ANY ($1::text[])
  AND (
    l.generation = (SELECT max(n.generation) FROM lane AS n WHERE n.destination = l.destination)
    OR EXISTS (SELECT FROM parked AS x WHERE x.lane = l.id OFFSET 0)
    OR EXISTS (
      SELECT FROM batch AS b
      WHERE b.lane = l.id AND b.tick >= coalesce(p.tick, 0)
        AND (b.tick > coalesce(p.tick, 0) OR b.last > coalesce(p.id, 0))
      OFFSET 0
    )
    OR EXISTS (
      SELECT FROM (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
      CROSS JOIN LATERAL (
        SELECT x.lane, x.xid FROM delivery AS x WHERE x.xid >= pg_snapshot_xmin(t.snapshot) OFFSET 0
      ) AS d
      WHERE d.lane = l.id AND NOT pg_visible_in_snapshot(d.xid, t.snapshot)
    )
  )
ORDER BY l.generation, l.id
