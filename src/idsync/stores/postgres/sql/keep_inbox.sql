-- Copies events into the open slot before their own is emptied, in the same transaction.
INSERT INTO inbox (
  slot, seq, peer, id, type, subject, received_at, verdict, reason, entity, event_id, event_type, event_subject, version,
  changed, body, trace, not_before
)
SELECT r.slot, i.seq, i.peer, i.id, i.type, i.subject, i.received_at, i.verdict, i.reason, i.entity, i.event_id, i.event_type,
  i.event_subject, i.version, i.changed, i.body, i.trace, i.not_before
FROM ring AS r CROSS JOIN inbox AS i
WHERE r.name = 'inbox' AND i.slot = $1 AND i.seq = ANY ($2::bigint[])
