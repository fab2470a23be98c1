-- Deletes some rows that were taken in, from a number on, never the row at the position. In a transaction of its own.
DELETE FROM {schema}.outbox WHERE seq IN (
  SELECT seq FROM {schema}.outbox
  WHERE seq > $1::bigint AND seq <= $2::bigint AND seq <> $3::bigint AND pg_visible_in_snapshot(tx, $4::text::pg_snapshot)
  ORDER BY seq LIMIT $5::bigint
) RETURNING seq
