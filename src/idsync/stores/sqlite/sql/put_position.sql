-- Moves the position of a peer's outbox, in the transaction that ingests the rows before it.
INSERT INTO position (peer, generation, number, nonce, mark) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (peer) DO UPDATE SET
  generation = excluded.generation, number = excluded.number, nonce = excluded.nonce, mark = excluded.mark
