-- Deletes at most ? deliveries behind the position of their lane, in a write transaction.
DELETE FROM delivery WHERE (lane, id) IN (
  SELECT d.lane, d.id FROM lane AS l CROSS JOIN delivery AS d ON d.lane = l.id AND d.id <= l.position LIMIT ?
)
