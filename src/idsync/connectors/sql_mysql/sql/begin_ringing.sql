-- Says that every row of a table has to be rung for.
INSERT INTO {rings} (kind, after) VALUES (%s, NULL) ON DUPLICATE KEY UPDATE after = NULL
