-- Adds tries with their results, in the transaction that moves the positions past them.
INSERT INTO attempt (
  delivery, event, destination, subject, number, at, outcome, status, error, latency_ms, response, trace, entity, phases
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
