-- Reads one value that the service keeps for itself; a single read, current as of now.
SELECT value FROM setting WHERE name = ?
