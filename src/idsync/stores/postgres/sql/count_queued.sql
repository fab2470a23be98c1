-- Counts the deliveries past the positions of their lanes, or without a place yet, by destination; a single read.
SELECT q.destination, sum(q.count)::bigint
FROM (
  SELECT l.destination, n.count
  FROM lane AS l
  LEFT JOIN LATERAL (
    SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
  ) AS p ON true
  CROSS JOIN LATERAL (
    SELECT sum(cardinality(b.ids)) AS count FROM batch AS b WHERE b.lane = l.id AND b.tick > coalesce(p.tick, -1)
    UNION ALL
    SELECT count(*) FROM batch AS b CROSS JOIN LATERAL unnest(b.ids) AS u (id)
    WHERE b.lane = l.id AND b.tick = p.tick AND u.id > p.id
  ) AS n
  UNION ALL
  SELECT l.destination, count(*)
  FROM (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
  CROSS JOIN LATERAL (
    SELECT x.lane, x.xid FROM delivery AS x WHERE x.xid >= pg_snapshot_xmin(t.snapshot) OFFSET 0
  ) AS d
  JOIN lane AS l ON l.id = d.lane
  WHERE NOT pg_visible_in_snapshot(d.xid, t.snapshot)
  GROUP BY l.destination
) AS q
GROUP BY q.destination
HAVING sum(q.count) > 0
