-- The next rows in key order, locked against change.
SELECT r.{key}::text AS key, ({row})::text AS row FROM {table} AS r
WHERE r.{key} IS NOT NULL {after} ORDER BY r.{key} LIMIT $1 FOR SHARE
