-- Reads deliveries past many places, at most $4 for each lane, in the order of ticks and within each of ids; a single read. A
-- lane has one batch for a tick, so the order of batches is that of ticks, and their ids are in order.
SELECT p.tick, p.id, c.lane, d.subject, d.event, d.version, d.queued_at
FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS c (lane, tick, id)
CROSS JOIN LATERAL (
  SELECT b.tick, unnest(
    CASE WHEN b.tick > c.tick THEN b.ids
      ELSE ARRAY(SELECT x.id FROM unnest(b.ids) AS x (id) WHERE x.id > c.id ORDER BY x.id)
    END
  ) AS id
  FROM batch AS b
  WHERE b.lane = c.lane AND b.tick >= c.tick AND (b.tick > c.tick OR b.last > c.id)
  ORDER BY b.tick
  LIMIT $4
) AS p
CROSS JOIN LATERAL (
  SELECT x.subject, x.event, x.version, x.queued_at FROM delivery AS x WHERE x.id = p.id OFFSET 0
) AS d
ORDER BY c.lane, p.tick, p.id
