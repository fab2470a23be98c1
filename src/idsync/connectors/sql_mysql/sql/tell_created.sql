-- After a row was made: tells what it holds, as it stands now. What is too big to be told only rings.
CREATE TRIGGER {name} AFTER INSERT ON {table} FOR EACH ROW BEGIN
  DECLARE now_key, now_is longblob;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION INSERT INTO {broken} () VALUES ();
  SELECT {new_key}, {row} INTO now_key, now_is FROM {table} AS r WHERE r.{key} = NEW.{key} LOCK IN SHARE MODE;
  IF now_key IS NOT NULL THEN
    INSERT INTO {outbox} (nonce, at, kind, op, id, new, origin)
    VALUES (uuid(), {now}, {kind}, IF(now_is IS NULL, 'ring', 'created'), now_key, now_is, @idsync_intent);
  END IF;
END
