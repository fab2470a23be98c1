-- Reads waiting arrivals after a sequence, oldest first, with the keys that open their bodies; a single read.
SELECT w.seq, i.peer, i.id, i.type, i.subject, w.reason, w.key, w.retry_at, w.attempts, w.parked_at, i.body, i.entity, e.key
FROM (SELECT * FROM wait WHERE seq > $1 ORDER BY seq LIMIT $2) AS w
CROSS JOIN LATERAL (
  SELECT x.peer, x.id, x.type, x.subject, x.body, x.entity FROM inbox AS x WHERE x.seq = w.seq OFFSET 0
) AS i
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = i.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
ORDER BY w.seq
