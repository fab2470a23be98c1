-- Finds those of some deliveries, each with its event, that need nothing more from their lane: they are settled, or stand in
-- rows of their own; a single read.
SELECT d.id
FROM (SELECT k.value ->> 0 AS id, k.value ->> 1 AS event FROM json_each(?) AS k) AS d
WHERE EXISTS (SELECT 1 FROM parked AS p WHERE p.id = d.id) OR EXISTS (
  SELECT 1 FROM attempt AS a
  WHERE a.event = d.event AND a.delivery = d.id AND a.outcome IN ('delivered', 'unchanged', 'superseded', 'skipped')
)
