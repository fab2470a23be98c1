-- Gives a waiting arrival the verdict it earned, in the write transaction. The one change an inbox row may see: its key and
-- its place in the order stay, while what went out for it must stand where its deliveries look, in the row.
UPDATE inbox
SET verdict = ?, reason = ?, entity = ?, event_id = ?, event_type = ?, event_subject = ?, version = ?, changed = ?, body = ?,
  trace = ?, not_before = ?
WHERE seq = ?
