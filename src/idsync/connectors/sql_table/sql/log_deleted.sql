-- Writes that a row is gone, unless a trigger of the application has put it back.
INSERT INTO idsync_outbox (kind, op, id, old, origin)
SELECT {kind}, 'deleted', OLD.{key}, {old}, (SELECT origin FROM idsync_writer)
WHERE OLD.{key} IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM {table} AS r WHERE r.{key} COLLATE {collation} = OLD.{key} AND r.{key} IS OLD.{key} COLLATE BINARY
)
