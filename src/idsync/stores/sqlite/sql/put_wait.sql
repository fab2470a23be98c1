-- Lets arrivals wait, in the write transaction; one that waits already keeps the time since when, and what it speaks of.
INSERT INTO wait (seq, reason, key, own_key, retry_at, attempts, parked_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (seq) DO UPDATE
SET reason = excluded.reason, key = excluded.key, retry_at = excluded.retry_at, attempts = excluded.attempts
