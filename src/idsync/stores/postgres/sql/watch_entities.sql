-- Keeps entities that a plan read but does not write from being written until its transaction ends, and gives their revs.
SELECT e.id, e.rev
FROM (SELECT id FROM unnest($1::text[]) AS one (id) ORDER BY id COLLATE "C") AS k
CROSS JOIN LATERAL (SELECT x.id, x.rev FROM entity AS x WHERE x.id = k.id ORDER BY x.rev DESC LIMIT 1 FOR SHARE) AS e
