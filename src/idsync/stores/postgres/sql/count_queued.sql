-- Counts the deliveries past the positions of their lanes, or without a place yet, by destination; a single read.
SELECT l.destination, sum(q.count)::bigint
FROM lane AS l
LEFT JOIN LATERAL (
  SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
) AS p ON true
CROSS JOIN LATERAL (
  SELECT sum(cardinality(b.ids)) AS count FROM batch AS b WHERE b.lane = l.id AND b.tick > coalesce(p.tick, -1)
  UNION ALL
  SELECT count(*) FROM batch AS b CROSS JOIN LATERAL unnest(b.ids) AS u (id)
  WHERE b.lane = l.id AND b.tick = p.tick AND u.id > p.id
  UNION ALL
  SELECT count(*) FROM (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
  JOIN delivery AS d ON d.xid >= pg_snapshot_xmin(t.snapshot)
  WHERE d.lane = l.id AND NOT pg_visible_in_snapshot(d.xid, t.snapshot)
) AS q
GROUP BY l.destination
HAVING sum(q.count) > 0
