-- Reads entities of one kind in id order after one; a single read.
SELECT doc FROM entity WHERE kind = ? AND id > ? ORDER BY id LIMIT ?
