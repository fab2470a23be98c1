-- Deletes attempts from ?2 (left out) to ?3 that were made before ?1, in a write transaction.
DELETE FROM attempt WHERE id > ?2 AND id <= ?3 AND at < ?1
