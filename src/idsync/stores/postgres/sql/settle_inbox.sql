-- Gives a waiting arrival the verdict it earned, in the transaction that has locked its wait. The one change an inbox row may
-- see: its key and its place in the order stay.
UPDATE inbox
SET verdict = $1, reason = $2, entity = $3, event_id = $4, event_type = $5, event_subject = $6, version = $7, changed = $8,
  body = $9, trace = $10, not_before = $11
WHERE seq = $12
