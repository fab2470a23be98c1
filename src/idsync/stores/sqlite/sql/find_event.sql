-- Reads what went out for one inbox row; part of one moment.
SELECT event_id, event_type FROM inbox WHERE seq = ?
