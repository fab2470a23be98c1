-- One value of a column, where one of the first thousand rows has any. Reads one snapshot.
SELECT left(value, 64) FROM (SELECT {column}::text AS value FROM {table} LIMIT 1000) AS few WHERE value <> '' LIMIT 1
