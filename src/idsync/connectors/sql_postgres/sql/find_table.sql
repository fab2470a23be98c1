-- Finds a table by its name: as it is written, then as PostgreSQL folds it, then without regard to case; each in the order
-- of the search path. Reads one snapshot.
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS relkind,
  row_security_active(c.oid) AS is_hidden
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (
    lower(c.relname) = lower($1::text) AND n.nspname = ANY (current_schemas(false))
    OR lower(n.nspname || '.' || c.relname) = lower($1::text)
  )
ORDER BY c.relname <> $1::text, c.relname <> lower($1::text), array_position(current_schemas(false), n.nspname), c.relname LIMIT 1
