-- Locks the entities that a plan writes, in the order of their ids; what was read before is compared with their revs. Whoever
-- waited for another writer is given what that one wrote.
SELECT e.id, e.rev, e.key
FROM (SELECT id FROM unnest($1::text[]) AS one (id) ORDER BY id COLLATE "C") AS k
CROSS JOIN LATERAL (
  SELECT x.id, x.rev, x.key FROM entity AS x WHERE x.id = k.id ORDER BY x.rev DESC LIMIT 1 FOR NO KEY UPDATE
) AS e
