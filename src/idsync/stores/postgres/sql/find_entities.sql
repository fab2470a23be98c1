-- Reads many entities by id; a single read.
SELECT doc FROM entity WHERE id = ANY ($1::text[])
