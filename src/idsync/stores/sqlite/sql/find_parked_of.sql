-- Finds the parked deliveries of one event; part of one moment.
SELECT id, destination, subject, reason, attempts, retry_at, state FROM parked WHERE event = ?
