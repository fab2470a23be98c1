-- Every trigger of ours: each names the table where it says that it could not read a row.
SELECT trigger_name FROM information_schema.triggers
WHERE trigger_schema = database() AND locate({mark}, action_statement) > 0
