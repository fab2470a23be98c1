-- What is visible in snapshot $2 and was not in $1, by number, past number $3: at most $6 rows and, but for the last, at
-- most $7 bytes. Whoever began at transaction $4 or later has only numbers past $5. Whoever was under way at $1 is looked
-- up one by one. So no row that was taken in before is touched again, whatever is still under way.
WITH RECURSIVE begun (tx) AS (
  (SELECT tx FROM {schema}.outbox WHERE tx >= pg_snapshot_xmax($1::text::pg_snapshot) AND tx < $4::text::xid8 ORDER BY tx LIMIT 1)
  UNION ALL
  SELECT (SELECT o.tx FROM {schema}.outbox AS o WHERE o.tx > begun.tx AND o.tx < $4::text::xid8 ORDER BY o.tx LIMIT 1)
  FROM begun WHERE begun.tx IS NOT NULL
), late (tx) AS (
  SELECT tx FROM begun WHERE pg_visible_in_snapshot(tx, $2::text::pg_snapshot)
  UNION ALL
  SELECT tx FROM pg_snapshot_xip($1::text::pg_snapshot) AS under_way (tx) WHERE pg_visible_in_snapshot(tx, $2::text::pg_snapshot)
)
SELECT seq, nonce, at, kind, op, id, old, new, origin, size_bytes
FROM (
  SELECT seq, nonce::text, round(date_part('epoch', at) * 1000)::bigint AS at, kind, op, id, old, new, origin,
    coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0) AS size_bytes,
    sum(coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS size_until
  FROM (
    SELECT seq, nonce, at, kind, op, id, old::text AS old, new::text AS new, origin
    FROM (
      (
        SELECT o.* FROM {schema}.outbox AS o
        WHERE o.seq > greatest($3::bigint, $5::bigint) AND o.tx >= $4::text::xid8
          AND pg_visible_in_snapshot(o.tx, $2::text::pg_snapshot)
        ORDER BY o.seq LIMIT $6::bigint
      )
      UNION ALL
      (
        SELECT o.* FROM late CROSS JOIN LATERAL (
          SELECT * FROM {schema}.outbox AS one
          WHERE one.tx = late.tx AND one.seq > $3::bigint ORDER BY one.tx, one.seq LIMIT $6::bigint
        ) AS o
      )
    ) AS difference
    ORDER BY seq LIMIT $6::bigint
  ) AS page
) AS weighed
WHERE size_until - size_bytes <= $7::bigint
ORDER BY seq
