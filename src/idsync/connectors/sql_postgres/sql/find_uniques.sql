-- Lists what is unique in a table: every column that an index depends on, and whether it is of plain columns alone.
SELECT i.indpred IS NULL AND i.indexprs IS NULL AS is_plain,
  array(
    SELECT DISTINCT a.attname::text
    FROM pg_attribute AS a
    LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
    WHERE a.attrelid = i.indrelid AND (a.attnum = ANY (i.indkey::smallint[]) OR d.refobjsubid IS NOT NULL)
  ) AS names
FROM pg_index AS i
WHERE i.indrelid = $1::bigint::oid AND i.indisunique AND i.indisvalid
