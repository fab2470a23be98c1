-- Reads every try of one event, oldest first, with the keys that open the answers; a single read.
SELECT a.delivery, a.event, a.destination, a.subject, a.number, a.at, a.outcome, a.status, a.error, a.latency_ms, a.response,
  a.trace, a.entity, a.phases, e.key
FROM attempt AS a
LEFT JOIN LATERAL (SELECT x.key FROM entity AS x WHERE x.id = a.entity ORDER BY x.rev DESC LIMIT 1) AS e ON true
WHERE a.event = $1
ORDER BY a.id
