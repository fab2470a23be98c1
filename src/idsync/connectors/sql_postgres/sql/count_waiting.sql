-- Counts the rows past a position. Reads one snapshot.
SELECT count(*)::bigint FROM {schema}.outbox
WHERE NOT pg_visible_in_snapshot(tx, $1::text::pg_snapshot)
  AND NOT (seq <= $3::bigint AND pg_visible_in_snapshot(tx, $2::text::pg_snapshot))
