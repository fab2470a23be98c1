-- Rows as JSON. One statement is one snapshot; with a version it needs a transaction.
SELECT CASE typeof({key}) WHEN 'text' THEN CAST({key} AS BLOB) ELSE {key} END, CAST({row} AS BLOB)
FROM {table} AS r WHERE {condition}
