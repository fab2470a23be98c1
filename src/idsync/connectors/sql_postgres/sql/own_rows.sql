-- What a write told the outbox, in this transaction, past a number.
SELECT seq FROM {schema}.outbox
WHERE tx = pg_current_xact_id() AND seq > $1::bigint AND kind = $2::text AND id = $3::text AND op <> 'ring'
ORDER BY seq
