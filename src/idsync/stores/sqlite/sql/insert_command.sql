-- Adds an operator's command, in a write transaction.
INSERT INTO command (doc) VALUES (?) RETURNING id
