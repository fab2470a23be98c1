-- Parks deliveries, or replaces their parked rows, in the transaction that lets their lanes pass them.
INSERT OR REPLACE INTO parked (
  id, destination, lane, subject, event, version, event_id, event_type, body, reason, attempts, retry_at, state, parked_at,
  first_at, trace, entity
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
