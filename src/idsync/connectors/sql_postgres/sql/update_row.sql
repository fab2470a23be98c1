-- Changes one identity, only the columns that differ. Inside a savepoint.
UPDATE {table} SET {assignments} WHERE {condition}
