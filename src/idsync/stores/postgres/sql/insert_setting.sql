-- Keeps one value for the service itself where there is none; of two who do so at once one wins.
INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
