-- Locks the entities that a plan writes, in the order of their ids; what was read before is compared with their revs.
SELECT id, rev, key FROM entity WHERE id = ANY ($1::text[]) ORDER BY id FOR NO KEY UPDATE
