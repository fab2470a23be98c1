-- Finds the parked deliveries of one event; a single read.
SELECT id, destination, subject, reason, attempts, retry_at, state FROM parked WHERE event = $1
