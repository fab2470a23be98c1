-- Reads one value that the service keeps for itself; a single read.
SELECT value FROM setting WHERE name = $1
