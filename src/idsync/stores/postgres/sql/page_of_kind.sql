-- Reads entities of one kind in id order after one; a single read.
SELECT doc FROM entity WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3
