-- Copies open deliveries into the open slot before their own is emptied, in the same transaction; their place stays.
INSERT INTO delivery (slot, lane, id, xid, subject, version, event, queued_at)
SELECT r.slot, d.lane, d.id, d.xid, d.subject, d.version, d.event, d.queued_at
FROM ring AS r CROSS JOIN delivery AS d
WHERE r.name = 'delivery' AND d.slot = $1 AND d.id = ANY ($2::bigint[])
