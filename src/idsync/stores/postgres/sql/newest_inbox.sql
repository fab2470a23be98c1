-- Reads when the last event of a slot was accepted; a single read.
SELECT received_at FROM inbox WHERE slot = $1 ORDER BY seq DESC LIMIT 1
