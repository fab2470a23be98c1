-- Counts the rows that were not read, but for looks.
SELECT count(*) FROM {outbox} AS o
LEFT JOIN JSON_TABLE(%s, '$[*]' COLUMNS (seq bigint unsigned PATH '$')) AS taken ON taken.seq = o.seq
WHERE o.op <> 'look' AND taken.seq IS NULL
