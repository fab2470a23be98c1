-- Every trigger of ours with what tells its definition; one that does not fire always is another. Reads one snapshot.
SELECT t.tgname AS name, n.nspname AS schema, c.relname AS table,
  CASE t.tgenabled WHEN 'A' THEN coalesce(obj_description(t.oid, 'pg_trigger'), '') ELSE 'disabled' END AS print
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE p.pronamespace = to_regnamespace($1::text) AND NOT t.tgisinternal AND t.tgparentid = 0
