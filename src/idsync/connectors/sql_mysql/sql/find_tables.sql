-- Lists the tables of the database whose names may be meant.
SELECT table_name, table_type, engine FROM information_schema.tables
WHERE table_schema = database() AND lower(table_name) = lower(%s)
ORDER BY CAST(table_name AS BINARY) = CAST(%s AS BINARY) DESC, table_name
