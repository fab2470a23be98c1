-- Opens lanes, in the write transaction.
INSERT INTO lane (destination, generation, level, number, is_target) VALUES (?, ?, ?, ?, ?)
