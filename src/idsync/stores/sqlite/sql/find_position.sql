-- Reads how far a peer's outbox was read; a single read, current as of now.
SELECT generation, number, nonce, mark FROM position WHERE peer = ?
