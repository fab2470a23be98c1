-- Reads commands that were not carried out yet, oldest first; a single read.
SELECT id, doc FROM command ORDER BY id LIMIT $1
