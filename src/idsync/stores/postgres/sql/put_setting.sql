-- Keeps one value for the service itself, whatever is there; by itself, or in a plan's transaction.
INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
