-- Writes the row as it stands now, not as the statement left it: a trigger of the application may have run in between.
INSERT INTO idsync_outbox (kind, op, id, old, new, origin)
SELECT {kind}, {op}, r.{key}, {old}, {new}, (SELECT origin FROM idsync_writer)
FROM {table} AS r
WHERE r.{key} COLLATE {collation} = NEW.{key} AND r.{key} IS NEW.{key} COLLATE BINARY
