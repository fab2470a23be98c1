-- The last key of the next page in key order; no row: fewer rows than a page are left.
SELECT {text} FROM {table} AS r WHERE r.{key} IS NOT NULL {after} ORDER BY r.{key} LIMIT {rows}, 1
