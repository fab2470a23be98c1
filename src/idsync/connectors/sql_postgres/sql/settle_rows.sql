-- Deletes all but the last of a write's rows: the triggers of the application had the last word. In its transaction.
DELETE FROM {schema}.outbox WHERE seq = ANY ($1::bigint[]) AND tx = pg_current_xact_id()
