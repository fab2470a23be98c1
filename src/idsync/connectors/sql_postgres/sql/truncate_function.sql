-- A TRUNCATE names no rows: before it does its work every row that is there rings.
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $idsync$
BEGIN
  PERFORM pg_current_xact_id();
  BEGIN
    INSERT INTO {schema}.outbox (kind, op, id, origin)
    SELECT {kind}, 'ring', r.{key}::text, nullif(current_setting('idsync.intent', true), '')
    FROM {table} AS r WHERE r.{key} IS NOT NULL;
  EXCEPTION WHEN OTHERS THEN
    INSERT INTO {schema}.outbox (kind, op, new) VALUES ({kind}, 'broken', to_jsonb(SQLSTATE));
  END;
  PERFORM {schema}.ring();
  RETURN NULL;
END
$idsync$
