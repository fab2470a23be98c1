-- Begins the ticks anew where the database was restored into another cluster, whose transactions count from less than the last
-- tick remembers: what had no place yet gets one, every delivery counts as older than any transaction, and the next tick goes on
-- from here. Under the lock of who opens the store.
WITH latest AS MATERIALIZED (
  SELECT t.number, t.snapshot FROM tick AS t
  WHERE t.number = (SELECT max(x.number) FROM tick AS x)
    AND pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(t.snapshot)
), unplaced AS MATERIALIZED (
  SELECT d.lane, d.id FROM latest AS t CROSS JOIN delivery AS d
  WHERE NOT pg_visible_in_snapshot(d.xid, t.snapshot) OR d.id > (SELECT coalesce(max(b.last), 0) FROM batch AS b)
), aged AS (
  UPDATE delivery SET xid = '1' WHERE EXISTS (SELECT FROM latest)
), made AS (
  INSERT INTO tick (number, snapshot) SELECT number + 1, pg_current_snapshot() FROM latest RETURNING number
)
INSERT INTO batch (slot, lane, tick, last, ids)
SELECT r.slot, u.lane, m.number, max(u.id), array_agg(u.id ORDER BY u.id)
FROM made AS m CROSS JOIN ring AS r CROSS JOIN unplaced AS u
WHERE r.name = 'batch'
GROUP BY r.slot, u.lane, m.number
