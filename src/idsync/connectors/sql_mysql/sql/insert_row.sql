-- Makes one identity. Inside a savepoint.
INSERT INTO {table} ({columns}) VALUES ({values})
