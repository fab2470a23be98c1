-- Says what became of many events at one destination: whether any delivery of each was delivered, is under way, is dead, or
-- is known at all; a single read. A delivery is open without a place yet, or past its lane's position. Each OFFSET 0 keeps
-- the planner from reading a whole table to hash it.
SELECT k.seq,
  EXISTS (
    SELECT FROM attempt AS a
    WHERE a.event = k.seq AND a.destination = $2 AND a.outcome IN ('delivered', 'unchanged') OFFSET 0
  ),
  EXISTS (
    SELECT FROM parked AS w WHERE w.event = k.seq AND w.destination = $2 AND w.state = 'parked' OFFSET 0
  ) OR EXISTS (
    SELECT FROM (SELECT x.id, x.lane, x.xid FROM delivery AS x WHERE x.event = k.seq OFFSET 0) AS d
    JOIN lane AS l ON l.id = d.lane
    CROSS JOIN (SELECT snapshot FROM tick ORDER BY number DESC LIMIT 1) AS t
    LEFT JOIN LATERAL (
      SELECT g.tick, g.id FROM progress AS g WHERE g.lane = d.lane ORDER BY g.tick DESC, g.id DESC LIMIT 1
    ) AS p ON true
    WHERE l.destination = $2
      AND NOT EXISTS (SELECT FROM parked AS w WHERE w.id = d.id OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM attempt AS a
        WHERE a.event = k.seq AND a.delivery = d.id AND a.outcome IN ('superseded', 'skipped') OFFSET 0
      )
      AND (
        NOT pg_visible_in_snapshot(d.xid, t.snapshot) OR EXISTS (
          SELECT FROM batch AS b
          WHERE b.lane = d.lane AND b.tick >= coalesce(p.tick, 0) AND d.id = ANY (b.ids)
            AND (b.tick > coalesce(p.tick, 0) OR d.id > coalesce(p.id, 0)) OFFSET 0
        )
      )
    OFFSET 0
  ),
  EXISTS (SELECT FROM parked AS w WHERE w.event = k.seq AND w.destination = $2 AND w.state = 'dead' OFFSET 0),
  EXISTS (SELECT FROM attempt AS a WHERE a.event = k.seq AND a.destination = $2 OFFSET 0) OR EXISTS (
    SELECT FROM (SELECT x.lane FROM delivery AS x WHERE x.event = k.seq OFFSET 0) AS d
    JOIN lane AS l ON l.id = d.lane
    WHERE l.destination = $2 OFFSET 0
  )
FROM unnest($1::bigint[]) AS k (seq)
