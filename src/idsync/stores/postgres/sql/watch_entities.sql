-- Keeps entities that a plan read but does not write from being written until its transaction ends, and gives their revs.
SELECT id, rev FROM entity WHERE id = ANY ($1::text[]) ORDER BY id FOR SHARE
