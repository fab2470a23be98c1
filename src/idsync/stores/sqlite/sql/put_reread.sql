-- Asks for rereads, one job for each identity, in the write transaction. Each time it is asked, `asked_at` grows, also within
-- one millisecond: a read that began before is then known to be too old.
INSERT INTO reread (peer, kind, external_id, asked_at, retry_at, attempts) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (peer, kind, external_id) DO UPDATE
SET asked_at = max(excluded.asked_at, asked_at + 1), retry_at = excluded.retry_at, attempts = excluded.attempts
