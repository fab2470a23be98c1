-- The next rows in key order, locked against change.
SELECT {key} AS id, {row} AS image FROM {table} AS r
WHERE r.{name} IS NOT NULL {after} ORDER BY r.{name} LIMIT %s LOCK IN SHARE MODE
