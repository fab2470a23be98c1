-- Finds those of some deliveries, each with its event, that need nothing more from their lane: they are settled, or stand in
-- rows of their own; a single read. Each OFFSET 0 keeps the planner from reading a whole table to hash it.
SELECT d.id
FROM unnest($1::bigint[], $2::bigint[]) AS d (id, event)
WHERE EXISTS (SELECT FROM parked AS p WHERE p.id = d.id OFFSET 0) OR EXISTS (
  SELECT FROM attempt AS a
  WHERE a.event = d.event AND a.delivery = d.id AND a.outcome IN ('delivered', 'unchanged', 'superseded', 'skipped')
  OFFSET 0
)
