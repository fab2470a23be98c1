-- Reads how far each lane is settled, which is kept when the rest is forgotten; where nobody else can move one.
SELECT l.id, p.tick, p.id
FROM lane AS l
CROSS JOIN LATERAL (
  SELECT g.tick, g.id FROM progress AS g WHERE g.lane = l.id ORDER BY g.tick DESC, g.id DESC LIMIT 1
) AS p
