-- Finds the events of a slot that somebody still needs: what waits, what is parked, and what an open delivery carries.
WITH needed AS MATERIALIZED (
  SELECT seq FROM wait
  UNION SELECT event FROM parked
  UNION
  SELECT d.event
  FROM lane AS l
  LEFT JOIN LATERAL (
    SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
  ) AS p ON true
  JOIN batch AS b ON b.lane = l.id AND b.tick >= coalesce(p.tick, 0)
  CROSS JOIN LATERAL unnest(b.ids) AS u (id)
  CROSS JOIN LATERAL (SELECT x.id, x.event, x.slot FROM delivery AS x WHERE x.id = u.id OFFSET 0) AS d
  WHERE b.tick > coalesce(p.tick, 0) OR u.id > coalesce(p.id, 0)
  UNION
  SELECT d.event
  FROM (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
  JOIN delivery AS d ON d.xid >= pg_snapshot_xmin(t.snapshot)
  WHERE NOT pg_visible_in_snapshot(d.xid, t.snapshot)
)
SELECT n.seq
FROM needed AS n CROSS JOIN LATERAL (SELECT x.slot FROM inbox AS x WHERE x.seq = n.seq OFFSET 0) AS i
WHERE i.slot = $1
