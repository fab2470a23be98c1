-- Deletes a slice of what was read, never the row at the position. In a write transaction.
DELETE FROM idsync_outbox WHERE seq IN (SELECT seq FROM idsync_outbox WHERE seq < ? ORDER BY seq LIMIT ?)
