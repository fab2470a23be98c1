-- Names what is left of a create for what it is, whichever trigger wrote the row.
UPDATE idsync_outbox SET op = 'created', old = NULL
WHERE seq > ?1 AND kind = ?2 AND CAST(id AS TEXT) = ?3 AND op IN ('created', 'updated')
