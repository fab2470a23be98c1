-- Finds since when the oldest open delivery of each destination waits: of each lane the first past its position, of those
-- without a place yet the one queued first, and of what is parked the one that was tried first; a single read.
SELECT o.destination, min(o.since)
FROM (
  SELECT l.destination, d.queued_at AS since
  FROM lane AS l
  LEFT JOIN LATERAL (
    SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
  ) AS p ON true
  CROSS JOIN LATERAL (
    SELECT CASE WHEN b.tick > coalesce(p.tick, 0) THEN b.ids[1]
      ELSE (SELECT min(u.id) FROM unnest(b.ids) AS u (id) WHERE u.id > coalesce(p.id, 0)) END AS id
    FROM batch AS b
    WHERE b.lane = l.id AND b.tick >= coalesce(p.tick, 0)
      AND (b.tick > coalesce(p.tick, 0) OR b.last > coalesce(p.id, 0))
    ORDER BY b.tick
    LIMIT 1
  ) AS f
  CROSS JOIN LATERAL (SELECT x.queued_at FROM delivery AS x WHERE x.id = f.id OFFSET 0) AS d
  UNION ALL
  SELECT l.destination, d.queued_at
  FROM (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
  CROSS JOIN LATERAL (
    SELECT x.lane, x.xid, x.queued_at FROM delivery AS x WHERE x.xid >= pg_snapshot_xmin(t.snapshot) OFFSET 0
  ) AS d
  JOIN lane AS l ON l.id = d.lane
  WHERE NOT pg_visible_in_snapshot(d.xid, t.snapshot)
  UNION ALL
  SELECT l.destination, p.first_at
  FROM (SELECT DISTINCT destination FROM lane) AS l
  CROSS JOIN LATERAL (
    SELECT x.first_at FROM parked AS x WHERE x.destination = l.destination AND x.state = $1 ORDER BY x.first_at LIMIT 1
  ) AS p
) AS o
GROUP BY o.destination
