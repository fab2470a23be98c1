-- Rings for the next rows in key order and gives their number and the last key. In a transaction that has its own id.
WITH rung AS (
  INSERT INTO {schema}.outbox (kind, op, id)
  SELECT {kind}, 'ring', r.{key}::text FROM {table} AS r
  WHERE r.{key} IS NOT NULL {after}
  ORDER BY r.{key} LIMIT $1
  RETURNING seq, id
)
SELECT count(*)::bigint AS count, (SELECT id FROM rung ORDER BY seq DESC LIMIT 1) AS last FROM rung
