-- Finds the deliveries of one event that still stand in lanes; part of one moment.
SELECT d.id, l.destination, d.subject, d.id > l.position FROM delivery AS d JOIN lane AS l ON l.id = d.lane WHERE d.event = ?
