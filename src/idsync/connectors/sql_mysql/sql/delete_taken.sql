-- Deletes rows that were read, each found by its number: any scan, also of a range, would wait for who writes the next row.
DELETE o FROM JSON_TABLE(%s, '$[*]' COLUMNS (seq bigint unsigned PATH '$')) AS taken
STRAIGHT_JOIN {outbox} AS o ON o.seq = taken.seq
