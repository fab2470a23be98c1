-- Reads entities in id order after one; a single read.
SELECT doc FROM entity WHERE id > $1 ORDER BY id LIMIT $2
