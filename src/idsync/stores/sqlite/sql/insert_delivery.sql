-- Queues deliveries, in the transaction that accepts their events.
INSERT INTO delivery (lane, id, subject, version, event, queued_at) VALUES (?, ?, ?, ?, ?, ?)
