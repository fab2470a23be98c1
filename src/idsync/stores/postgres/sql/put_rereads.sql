-- Asks for rereads, one job for each identity. Each time it is asked, `asked_at` grows, also within one millisecond: a read
-- that began before is then known to be too old.
INSERT INTO reread AS r (peer, kind, external_id, asked_at, retry_at, attempts)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[])
ON CONFLICT (peer, kind, external_id) DO UPDATE
SET asked_at = greatest(excluded.asked_at, r.asked_at + 1), retry_at = excluded.retry_at, attempts = excluded.attempts
