-- Removes one value of the service itself, in a write transaction.
DELETE FROM setting WHERE name = ?
