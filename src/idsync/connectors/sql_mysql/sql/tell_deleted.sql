-- After a row was removed: tells what it held.
CREATE TRIGGER {name} AFTER DELETE ON {table} FOR EACH ROW BEGIN
  DECLARE was_key, was longblob;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION INSERT INTO {broken} () VALUES ();
  SET was = {was}, was_key = {old_key};
  IF was_key IS NOT NULL THEN
    INSERT INTO {outbox} (nonce, at, kind, op, id, old, origin)
    VALUES (uuid(), {now}, {kind}, IF(was IS NULL, 'ring', 'deleted'), was_key, was, @idsync_intent);
  END IF;
END
