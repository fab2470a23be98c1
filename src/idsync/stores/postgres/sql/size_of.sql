-- Reads how large a table is on the disk; a single read.
SELECT pg_relation_size($1::text::regclass)
