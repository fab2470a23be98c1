-- Wakes whoever reads the outbox, from one session at most every 50 ms: all commits that notify wait for each other.
-- Not where a notice could make the application's own transaction fail: prepared transactions, a queue that fills up.
CREATE FUNCTION {schema}.ring() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $idsync$
#variable_conflict use_variable
DECLARE
  now_s double precision := extract(epoch FROM clock_timestamp());
BEGIN
  IF now_s - coalesce(nullif(current_setting('idsync.rung_at', true), '')::double precision, 0) BETWEEN 0 AND 0.05
    OR current_setting('max_prepared_transactions') <> '0' OR pg_notification_queue_usage() > 0.5
  THEN
    RETURN;
  END IF;
  PERFORM set_config('idsync.rung_at', now_s::text, false), pg_notify({channel}, '');
END
$idsync$
