-- One value of a column as it is stored, where one of the first thousand rows has any. Reads one snapshot.
SELECT typeof(value), CAST(value AS BLOB)
FROM (SELECT {column} AS value FROM {table} LIMIT 1000)
WHERE typeof(value) <> 'blob' AND value <> '' LIMIT 1
