-- Removes one value of the service itself, where $2 is given only that one; by itself, or in a plan's transaction.
DELETE FROM setting WHERE name = $1 AND ($2::bytea IS NULL OR value = $2)
