-- Names what is left of a create for what it is, where a trigger of the application had the last word.
UPDATE idsync_outbox SET op = 'created' WHERE seq > ?1 AND kind = ?2 AND CAST(id AS TEXT) = ?3 AND op = 'updated'
