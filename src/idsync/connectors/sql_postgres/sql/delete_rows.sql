-- Removes one identity, or the rows that end with it. Inside a savepoint.
DELETE FROM {table} WHERE {condition}
