-- Reads every try of one event, oldest first, with the keys that open the answers; a single read, or part of one moment.
SELECT a.delivery, a.event, a.destination, a.subject, a.number, a.at, a.outcome, a.status, a.error, a.latency_ms, a.response,
  a.trace, a.entity, a.phases, e.key
FROM attempt AS a
LEFT JOIN entity AS e ON e.id = a.entity
WHERE a.event = ?
ORDER BY a.id
