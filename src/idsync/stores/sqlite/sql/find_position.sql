-- Reads how far a peer's outbox was read; a single read, current as of now.
SELECT generation, number, nonce FROM position WHERE peer = ?
