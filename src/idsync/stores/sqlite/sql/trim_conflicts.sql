-- Deletes conflicts from ?2 (left out) to ?3 that are from before ?1, in a write transaction.
DELETE FROM conflict WHERE id > ?2 AND id <= ?3 AND at < ?1
