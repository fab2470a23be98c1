-- The outbox past a position, in commit order. In a read transaction with the check of the position.
SELECT seq, nonce, at, kind, op, CASE typeof(id) WHEN 'text' THEN CAST(id AS BLOB) WHEN 'integer' THEN id END,
  CAST(old AS BLOB), CAST(new AS BLOB), origin,
  coalesce(length(CAST(old AS BLOB)), 0) + coalesce(length(CAST(new AS BLOB)), 0)
FROM idsync_outbox WHERE seq > ? ORDER BY seq LIMIT ?
