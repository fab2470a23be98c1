-- Removes one identity, or the rows that end with it. Inside a savepoint.
DELETE FROM {table}
WHERE {key} COLLATE {collation} IN (?1, ?2) AND {key} COLLATE BINARY IN (?1, ?2)
