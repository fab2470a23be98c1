-- Reads waiting arrivals whose time has come, oldest first, with the keys that open their bodies; a single read.
SELECT w.seq, i.peer, i.id, i.type, i.subject, w.reason, w.key, w.retry_at, w.attempts, w.parked_at, i.body, i.entity, e.key
FROM wait AS w
JOIN inbox AS i ON i.seq = w.seq
LEFT JOIN entity AS e ON e.id = i.entity
WHERE w.retry_at <= ?
ORDER BY w.retry_at, w.seq
LIMIT ?
