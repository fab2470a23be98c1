-- Names what is left of a create for what it is, whichever trigger wrote the row. In its transaction.
UPDATE {schema}.outbox SET op = 'created', old = NULL WHERE seq = $1::bigint AND op <> 'deleted'
