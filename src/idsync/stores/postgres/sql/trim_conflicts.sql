-- Deletes those of the oldest conflicts that are from before a moment; a transaction by itself.
DELETE FROM conflict WHERE at < $1 AND id IN (SELECT c.id FROM conflict AS c ORDER BY c.id LIMIT $2)
