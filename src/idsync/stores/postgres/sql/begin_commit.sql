-- Begins a plan's transaction: claims what has no row to lock, in one order everywhere, and draws inbox sequences. Each claim
-- waits for whoever has it; a key that is there is locked as it is, without a new version of its row. Before a sequence is
-- drawn, an advisory lock tells above which number it will be (`horizon`); it goes when the transaction has ended. Before that
-- $3 locks where events go, as `hold_routes` does: what is read of it in the next statements stays so.
WITH claimed AS (
  INSERT INTO claim (key)
  SELECT DISTINCT hashtextextended(k.name, 0) AS key FROM unnest($1::text[]) AS k (name) ORDER BY key
  ON CONFLICT (key) DO UPDATE SET key = excluded.key WHERE false
), routed AS MATERIALIZED (
  SELECT CASE WHEN $3::boolean THEN pg_advisory_xact_lock_shared(x'0000000069647273'::bigint) END AS lock
), told AS MATERIALIZED (
  SELECT pg_advisory_xact_lock_shared(x'6964000000000000'::bigint | (last_value - (NOT is_called)::integer)) AS lock
  FROM routed CROSS JOIN inbox_number WHERE $2::integer > 0
)
SELECT nextval('inbox_number') FROM told CROSS JOIN generate_series(1, $2::integer)
