-- Adds accepted events into the open slot, those whose (peer, id) no slot has. Whoever inserts holds the table against a
-- change of the open slot, so two writers of one key meet in the same slot, where its constraint lets one of them pass.
-- None is added where events go elsewhere than $18 says: who was routed by it holds the lock that keeps it (`begin_commit`).
INSERT INTO inbox (
  slot, seq, peer, id, type, subject, received_at, verdict, reason, entity, event_id, event_type, event_subject, version,
  changed, body, trace, not_before
)
SELECT r.slot, k.*
FROM ring AS r
CROSS JOIN unnest(
  $1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
  $11::text[], $12::text[], $13::bigint[], $14::text[], $15::bytea[], $16::text[], $17::bigint[]
) AS k (
  seq, peer, id, type, subject, received_at, verdict, reason, entity, event_id, event_type, event_subject, version, changed,
  body, trace, not_before
)
WHERE r.name = 'inbox'
  AND ($18::bytea IS NULL OR $18 = coalesce((SELECT s.value FROM setting AS s WHERE s.name = 'endpoints_revision'), ''::bytea))
  AND NOT EXISTS (SELECT FROM inbox AS o WHERE o.id = k.id AND o.peer = k.peer AND o.slot <> r.slot OFFSET 0)
ON CONFLICT (id, peer, slot) DO NOTHING
RETURNING seq
