-- Counts what the store holds; a large table by what the last ANALYZE found, for counting it would take seconds.
SELECT
  CASE WHEN pg_relation_size('entity') < $1 THEN (SELECT count(*) FROM entity)
    ELSE (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'entity'::regclass) END,
  CASE WHEN (SELECT sum(pg_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'inbox'::regclass) < $1
    THEN (SELECT count(*) FROM inbox)
    ELSE (
      SELECT sum(greatest(c.reltuples, 0))::bigint
      FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'inbox'::regclass
    ) END,
  (SELECT count(*) FROM wait),
  (SELECT count(*) FROM reread),
  (SELECT count(*) FROM conflict),
  (
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'S')
  )
