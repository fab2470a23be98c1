-- Adds an operator's command; a transaction by itself.
INSERT INTO command (doc) VALUES ($1) RETURNING id
