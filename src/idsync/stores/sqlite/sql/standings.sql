-- Says what became of many events at one destination: whether any delivery of each was delivered, is under way, is dead, or
-- is known at all; a single read.
SELECT k.value,
  EXISTS (
    SELECT 1 FROM attempt AS a
    WHERE a.event = k.value AND a.destination = ?2 AND a.outcome IN ('delivered', 'unchanged')
  ),
  EXISTS (SELECT 1 FROM parked AS p WHERE p.event = k.value AND p.destination = ?2 AND p.state = 'parked') OR EXISTS (
    SELECT 1 FROM delivery AS d
    JOIN lane AS l ON l.id = d.lane
    WHERE d.event = k.value AND l.destination = ?2 AND d.id > l.position
      AND NOT EXISTS (SELECT 1 FROM parked AS p WHERE p.id = d.id)
      AND NOT EXISTS (
        SELECT 1 FROM attempt AS a
        WHERE a.event = k.value AND a.delivery = d.id AND a.outcome IN ('superseded', 'skipped')
      )
  ),
  EXISTS (SELECT 1 FROM parked AS p WHERE p.event = k.value AND p.destination = ?2 AND p.state = 'dead'),
  EXISTS (SELECT 1 FROM attempt AS a WHERE a.event = k.value AND a.destination = ?2) OR EXISTS (
    SELECT 1 FROM delivery AS d JOIN lane AS l ON l.id = d.lane WHERE d.event = k.value AND l.destination = ?2
  )
FROM json_each(?1) AS k
