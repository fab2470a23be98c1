-- Gives the sequence up to which every accepted event is there: nobody under way can still add one below it. First the highest
-- that was drawn, then the locks of those who drew: whoever has drawn less and has no lock any more is seen by a later statement.
WITH drawn AS MATERIALIZED (SELECT last_value AS seq FROM inbox_number)
SELECT least(d.seq, (
  SELECT min(((l.classid::bigint & 65535) << 32) | l.objid::bigint) FROM pg_locks AS l
  WHERE l.locktype = 'advisory' AND l.classid::bigint >> 16 = x'6964'::bigint AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND d.seq > 0
))
FROM drawn AS d
