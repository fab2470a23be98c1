-- Reads entities in id order after one; a single read.
SELECT doc FROM entity WHERE id > ? ORDER BY id LIMIT ?
