-- After a row was changed: tells what it held and holds, if a column of ours has changed by a byte; of another key that
-- one identity is gone and another has come.
CREATE TRIGGER {name} AFTER UPDATE ON {table} FOR EACH ROW BEGIN
  DECLARE was_key, now_key, was, now_is longblob;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION INSERT INTO {broken} () VALUES ();
  SET was = {was}, was_key = {old_key};
  SELECT {new_key}, {row} INTO now_key, now_is FROM {table} AS r WHERE r.{key} = NEW.{key} LOCK IN SHARE MODE;
  IF was_key = now_key AND (was IS NULL OR now_is IS NULL) THEN
    INSERT INTO {outbox} (nonce, at, kind, op, id, origin) VALUES (uuid(), {now}, {kind}, 'ring', now_key, @idsync_intent);
  ELSEIF was_key = now_key THEN
    IF was <> now_is THEN
      INSERT INTO {outbox} (nonce, at, kind, op, id, old, new, origin)
      VALUES (uuid(), {now}, {kind}, 'updated', now_key, was, now_is, @idsync_intent);
    END IF;
  ELSE
    IF was_key IS NOT NULL THEN
      INSERT INTO {outbox} (nonce, at, kind, op, id, old, origin)
      VALUES (uuid(), {now}, {kind}, IF(was IS NULL, 'ring', 'deleted'), was_key, was, @idsync_intent);
    END IF;
    IF now_key IS NOT NULL THEN
      INSERT INTO {outbox} (nonce, at, kind, op, id, new, origin)
      VALUES (uuid(), {now}, {kind}, IF(now_is IS NULL, 'ring', 'created'), now_key, now_is, @idsync_intent);
    END IF;
  END IF;
END
