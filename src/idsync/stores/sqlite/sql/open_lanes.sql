-- Reads the lanes of some destinations, older generations first: all of the newest, and of older ones those that are not
-- empty yet, in the write transaction that made sure of them.
SELECT l.id, l.destination, l.generation, l.level, l.number, l.position
FROM json_each(?) AS k
CROSS JOIN lane AS l ON l.destination = k.value
WHERE l.generation = (SELECT max(n.generation) FROM lane AS n WHERE n.destination = l.destination)
  OR EXISTS (SELECT 1 FROM delivery AS d WHERE d.lane = l.id AND d.id > l.position)
  OR EXISTS (SELECT 1 FROM parked AS p WHERE p.lane = l.id)
ORDER BY l.generation, l.id
