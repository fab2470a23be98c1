-- Rings for the next rows in key order. In a write transaction.
INSERT INTO idsync_outbox (kind, op, id)
SELECT {kind}, 'ring', {key} FROM {table}
WHERE {key} IS NOT NULL {after}
ORDER BY {key} COLLATE {collation}
LIMIT {limit}
