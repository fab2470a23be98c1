-- Reads how far a peer's outbox was read; a single read.
SELECT doc FROM position WHERE peer = $1
