-- Reads reread jobs whose time has come, oldest first; a single read.
SELECT peer, kind, external_id, asked_at, retry_at, attempts FROM reread WHERE retry_at <= $1 ORDER BY retry_at LIMIT $2
