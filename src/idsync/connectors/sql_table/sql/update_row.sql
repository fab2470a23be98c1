-- Changes one identity, only the columns that differ. Inside a savepoint.
UPDATE {table} SET {assignments}
WHERE {key} COLLATE {collation} IN (?1, ?2) AND {key} COLLATE BINARY IN (?1, ?2)
