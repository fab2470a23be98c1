-- Queues deliveries into the open slot, the last statement of a plan: their ids are drawn when all that orders them is locked.
-- Nothing is queued where lanes were opened that the caller does not know: $6 is the highest that it knows.
INSERT INTO delivery (slot, lane, id, subject, version, event, queued_at)
SELECT r.slot, k.lane, nextval('delivery_number'), k.subject, k.version, k.event, $5
FROM ring AS r
CROSS JOIN unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[]) AS k (lane, subject, version, event)
WHERE r.name = 'delivery' AND (SELECT max(l.id) FROM lane AS l) <= $6::integer
RETURNING id
