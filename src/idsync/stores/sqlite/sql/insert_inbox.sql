-- Adds accepted events, in the write transaction; a known (peer, id) breaks the constraint.
INSERT INTO inbox (
  seq, peer, id, type, subject, received_at, verdict, reason, entity, event_id, event_type, event_subject, version, changed,
  body, trace, not_before
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
