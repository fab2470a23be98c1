-- Adds tries with their results into the open slot, in the transaction that moves the positions past them.
INSERT INTO attempt (
  slot, delivery, event, destination, subject, number, at, outcome, status, error, latency_ms, response, trace, entity,
  phases
)
SELECT r.slot, k.*
FROM ring AS r
CROSS JOIN unnest(
  $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::integer[], $6::bigint[], $7::text[], $8::integer[], $9::text[],
  $10::double precision[], $11::bytea[], $12::text[], $13::text[], $14::text[]
) AS k (
  delivery, event, destination, subject, number, at, outcome, status, error, latency_ms, response, trace, entity, phases
)
WHERE r.name = 'attempt'
