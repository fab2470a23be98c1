-- Takes back what a row told the outbox in this transaction, when it held nothing but a placeholder.
DELETE FROM idsync_outbox WHERE seq > ?1 AND kind = ?2 AND CAST(id AS TEXT) = ?3
