-- Says how a table declares its columns.
SELECT column_name, data_type, column_type, character_set_name, collation_name, datetime_precision,
  is_nullable = 'NO', column_default IS NOT NULL AND column_default <> 'NULL' OR extra LIKE '%%auto_increment%%',
  extra LIKE '%%VIRTUAL%%' OR extra LIKE '%%STORED%%'
FROM information_schema.columns
WHERE table_schema = database() AND table_name = %s
ORDER BY ordinal_position
