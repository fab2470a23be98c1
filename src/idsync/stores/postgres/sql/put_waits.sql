-- Lets arrivals wait; one that waits already keeps the time since when, and what it speaks of.
INSERT INTO wait (seq, reason, key, own_key, retry_at, attempts, parked_at)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::integer[], $7::bigint[])
ON CONFLICT (seq) DO UPDATE
SET reason = excluded.reason, key = excluded.key, retry_at = excluded.retry_at, attempts = excluded.attempts
