-- One value of a column, where one of the first thousand rows has any.
SELECT left(value, 64) FROM (SELECT {column} AS value FROM {table} AS r LIMIT 1000) AS few WHERE value <> '' LIMIT 1
