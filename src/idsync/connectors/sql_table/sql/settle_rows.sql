-- Deletes all but the last of a write's rows: the triggers of the application had the last word.
DELETE FROM idsync_outbox
WHERE seq > ?1 AND kind = ?2 AND op <> 'ring' AND CAST(id AS TEXT) = ?3 AND seq < (
  SELECT max(seq) FROM idsync_outbox WHERE seq > ?1 AND kind = ?2 AND op <> 'ring' AND CAST(id AS TEXT) = ?3
)
