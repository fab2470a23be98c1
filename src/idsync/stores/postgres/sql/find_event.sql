-- Reads what went out for one inbox row; a single read.
SELECT event_id, event_type FROM inbox WHERE seq = $1
