-- Lets arrivals wait, in the write transaction; one that waits already keeps the time since when.
INSERT INTO wait (seq, reason, key, retry_at, attempts, parked_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (seq) DO UPDATE
SET reason = excluded.reason, key = excluded.key, retry_at = excluded.retry_at, attempts = excluded.attempts
