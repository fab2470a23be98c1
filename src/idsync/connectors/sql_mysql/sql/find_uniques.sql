-- Lists what is unique in a table: each index with its columns, in order; the primary key first. An index on an
-- expression has no column there.
SELECT index_name, column_name FROM information_schema.statistics
WHERE table_schema = database() AND table_name = %s AND non_unique = 0
ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index
