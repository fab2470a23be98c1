-- Parks deliveries, or replaces their parked rows, in the transaction that lets their lanes pass them.
INSERT INTO parked (
  id, destination, lane, subject, event, version, event_id, event_type, body, reason, attempts, retry_at, state, parked_at,
  first_at, trace, entity
)
SELECT * FROM unnest(
  $1::bigint[], $2::text[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::bytea[],
  $10::text[], $11::integer[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[], $16::text[], $17::text[]
)
ON CONFLICT (id) DO UPDATE
SET destination = excluded.destination, lane = excluded.lane, subject = excluded.subject, event = excluded.event,
  version = excluded.version, event_id = excluded.event_id, event_type = excluded.event_type, body = excluded.body,
  reason = excluded.reason, attempts = excluded.attempts, retry_at = excluded.retry_at, state = excluded.state,
  parked_at = excluded.parked_at, first_at = excluded.first_at, trace = excluded.trace, entity = excluded.entity
