-- Makes one identity and returns its key; no row: a trigger of the application ignored it. Inside a savepoint.
INSERT INTO {table} AS r ({columns}) VALUES ({values}) RETURNING r.{key}::text
