-- Finds the deliveries of a slot that are open: past the position of their lane, or without a place yet.
SELECT d.id
FROM lane AS l
LEFT JOIN LATERAL (
  SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
) AS p ON true
JOIN batch AS b ON b.lane = l.id AND b.tick >= coalesce(p.tick, 0)
CROSS JOIN LATERAL unnest(b.ids) AS u (id)
CROSS JOIN LATERAL (SELECT x.id, x.event, x.slot FROM delivery AS x WHERE x.id = u.id OFFSET 0) AS d
WHERE d.slot = $1 AND (b.tick > coalesce(p.tick, 0) OR u.id > coalesce(p.id, 0))
UNION ALL
SELECT d.id
FROM (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
JOIN delivery AS d ON d.xid >= pg_snapshot_xmin(t.snapshot)
WHERE d.slot = $1 AND NOT pg_visible_in_snapshot(d.xid, t.snapshot)
