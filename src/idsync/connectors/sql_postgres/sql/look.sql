-- What capture says of itself, the newest number that was drawn, and a print of everything in the catalogue that the
-- tables and triggers are known by. One statement; the number is older than any snapshot that is taken after it.
SELECT c.generation, c.version, c.is_trimmed, coalesce(pg_sequence_last_value({outbox_seq}), 0) AS last,
  EXISTS (SELECT FROM {schema}.outbox WHERE op = 'broken') AS is_broken,
  md5((
    SELECT string_agg(part, ' ' ORDER BY part) FROM (
      SELECT 'c' || oid || relname FROM pg_class WHERE relname = ANY ($1::text[])
      UNION ALL
      SELECT 'a' || attrelid || '.' || attnum || '.' || xmin::text FROM pg_attribute WHERE attrelid = ANY ($2::bigint[]::oid[])
      UNION ALL
      SELECT 'i' || indexrelid || '.' || xmin::text FROM pg_index WHERE indrelid = ANY ($2::bigint[]::oid[])
      UNION ALL
      SELECT 't' || oid || '.' || xmin::text FROM pg_trigger WHERE tgrelid = ANY ($2::bigint[]::oid[])
      UNION ALL
      SELECT 'f' || oid || '.' || xmin::text FROM pg_proc WHERE proname = ANY ($3::text[])
    ) AS parts (part)
  )) AS print
FROM {schema}.capture AS c
