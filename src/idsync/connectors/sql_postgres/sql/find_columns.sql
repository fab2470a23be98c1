-- Says how a table declares its columns; a domain is its base type, and every type can be named whatever the search path.
-- Reads one snapshot.
SELECT a.attname AS name,
  CASE coalesce(en.nspname, bn.nspname) WHEN 'pg_catalog' THEN format_type(b.oid, -1)
    ELSE format('%I.%I', coalesce(en.nspname, bn.nspname), coalesce(e.typname, b.typname))
      || CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END
  END AS base,
  a.attnotnull OR t.typnotnull AS is_required,
  a.atthasdef AND a.attgenerated = '' OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS has_default,
  a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) AS is_counted,
  a.attgenerated <> '' AS is_generated,
  coalesce(array_position(p.indkey::smallint[], a.attnum) + 1, 0) AS primary_place
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
JOIN pg_namespace AS bn ON bn.oid = b.typnamespace
LEFT JOIN pg_type AS e ON e.oid = b.typelem AND b.typcategory = 'A'
LEFT JOIN pg_namespace AS en ON en.oid = e.typnamespace
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_index AS p ON p.indrelid = a.attrelid AND p.indisprimary
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
