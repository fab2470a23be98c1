-- Lists the foreign keys by which the database itself removes or changes rows of a table: no trigger fires for that.
SELECT r.constraint_name, r.delete_rule, r.update_rule, r.referenced_table_name, k.column_name, k.referenced_column_name
FROM information_schema.referential_constraints AS r
JOIN information_schema.key_column_usage AS k
  ON k.constraint_schema = r.constraint_schema AND k.constraint_name = r.constraint_name AND k.table_name = r.table_name
WHERE r.constraint_schema = database() AND r.table_name = %s
  AND (r.delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR r.update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
ORDER BY r.constraint_name, k.ordinal_position
