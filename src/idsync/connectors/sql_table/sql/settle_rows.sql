-- Leaves one outbox row for one write: what the application's own triggers made of it is the only state that counts.
DELETE FROM idsync_outbox
WHERE seq > ?1 AND kind = ?2 AND op <> 'ring' AND CAST(id AS TEXT) = ?3 AND seq < (
  SELECT max(seq) FROM idsync_outbox WHERE seq > ?1 AND kind = ?2 AND op <> 'ring' AND CAST(id AS TEXT) = ?3
)
