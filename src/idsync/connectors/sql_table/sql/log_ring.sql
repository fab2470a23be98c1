-- Rings for rows that a REPLACE is about to remove, for which no delete trigger fires. A ring too many does no harm.
INSERT INTO idsync_outbox (kind, op, id, origin)
SELECT {kind}, 'ring', r.{key}, (SELECT origin FROM idsync_writer)
FROM {table} AS r
WHERE {same} AND r.{key} IS NOT {row}.{key} COLLATE BINARY
