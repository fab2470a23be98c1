-- Reads the keys of many entities; in a plan's transaction, or by itself.
SELECT id, key FROM entity WHERE id = ANY ($1::text[])
