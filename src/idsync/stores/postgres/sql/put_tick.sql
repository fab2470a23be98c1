-- Puts the newest tick back when all were forgotten, in the same transaction.
INSERT INTO tick (number, snapshot) VALUES ($1, $2::text::pg_snapshot)
