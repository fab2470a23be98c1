-- What the application's own statements write to the outbox, in their transaction, after the row is written and locked.
-- The row is read as it stands now: a trigger of the application may have changed it since the statement did. It runs
-- with the rights of who installed it, and with no schema in its path that anybody could put a function into. Where the
-- row cannot be read (a column was renamed, a right was taken away) it says so and lets the statement be: the inner
-- block only reads, so it costs no transaction number. No column is named where PostgreSQL would forbid its change.
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $idsync$
#variable_conflict use_variable
DECLARE
  writer text := nullif(current_setting('idsync.intent', true), '');
  was_key text;
  was jsonb;
  is_gone boolean := false;
  now_key text;
  now_is jsonb;
BEGIN
  BEGIN
    IF TG_OP = 'UPDATE' AND {is_same} THEN
      RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
      was_key := OLD.{key}::text;
      was := {old};
    END IF;
    IF TG_OP = 'DELETE' OR was_key <> NEW.{key}::text COLLATE "C" THEN
      is_gone := NOT EXISTS (SELECT FROM {table} AS r WHERE {is_old});
    END IF;
    IF TG_OP <> 'DELETE' THEN
      SELECT r.{key}::text, {new} INTO now_key, now_is FROM {table} AS r WHERE {is_new};
    END IF;
  EXCEPTION WHEN OTHERS THEN
    INSERT INTO {schema}.outbox (kind, op, new) VALUES ({kind}, 'broken', to_jsonb(SQLSTATE));
    RETURN NULL;
  END;
  IF is_gone AND was_key IS NOT NULL THEN
    INSERT INTO {schema}.outbox (kind, op, id, old, origin) VALUES ({kind}, 'deleted', was_key, was, writer);
  END IF;
  IF was_key = now_key COLLATE "C" THEN
    INSERT INTO {schema}.outbox (kind, op, id, old, new, origin) VALUES ({kind}, 'updated', now_key, was, now_is, writer);
  ELSIF now_key IS NOT NULL THEN
    INSERT INTO {schema}.outbox (kind, op, id, new, origin) VALUES ({kind}, 'created', now_key, now_is, writer);
  END IF;
  PERFORM {schema}.ring();
  RETURN NULL;
END
$idsync$
