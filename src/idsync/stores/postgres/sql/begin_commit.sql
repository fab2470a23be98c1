-- Begins a plan's transaction: claims what has no row to lock, in one order everywhere, and draws inbox sequences. Each claim
-- waits for whoever has it; a key that is there is locked as it is, without a new version of its row.
WITH claimed AS (
  INSERT INTO claim (key)
  SELECT DISTINCT hashtextextended(k.name, 0) AS key FROM unnest($1::text[]) AS k (name) ORDER BY key
  ON CONFLICT (key) DO UPDATE SET key = excluded.key WHERE false
)
SELECT nextval('inbox_number') FROM generate_series(1, $2::integer)
