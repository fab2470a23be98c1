-- Changes one identity, only the columns that differ. Inside a savepoint.
UPDATE {table} AS r SET {assignments} WHERE {condition}
