-- Makes a tick of what the last one did not show, unless somebody else has made it or has the lease: what is found is what this
-- statement's own snapshot shows of transactions that had not ended in the last one's. The number is the fence: two who make
-- the same tick meet in its key, and only one of them has it.
WITH latest AS MATERIALIZED (
  SELECT t.number, t.snapshot FROM lease AS l CROSS JOIN tick AS t
  WHERE l.name = 'tick' AND l.epoch = $1
  ORDER BY t.number DESC LIMIT 1
), found AS MATERIALIZED (
  SELECT d.lane, d.id
  FROM latest AS t
  CROSS JOIN LATERAL (
    SELECT x.lane, x.id FROM delivery AS x WHERE x.xid >= pg_snapshot_xmax(t.snapshot) OFFSET 0
  ) AS d
  UNION ALL
  SELECT d.lane, d.id
  FROM latest AS t
  CROSS JOIN LATERAL pg_snapshot_xip(t.snapshot) AS r (xid)
  CROSS JOIN LATERAL (SELECT x.lane, x.id FROM delivery AS x WHERE x.xid = r.xid OFFSET 0) AS d
), made AS (
  INSERT INTO tick (number, snapshot)
  SELECT t.number + 1, pg_current_snapshot() FROM latest AS t WHERE EXISTS (SELECT FROM found)
  ON CONFLICT (number) DO NOTHING
  RETURNING number
)
INSERT INTO batch (slot, lane, tick, last, ids)
SELECT r.slot, f.lane, m.number, max(f.id), array_agg(f.id ORDER BY f.id)
FROM made AS m CROSS JOIN ring AS r CROSS JOIN found AS f
WHERE r.name = 'batch'
GROUP BY r.slot, f.lane, m.number
