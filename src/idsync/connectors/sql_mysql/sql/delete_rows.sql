-- Removes one identity, or the rows that end with it. Inside a savepoint.
DELETE r FROM {table} AS r WHERE {condition}
