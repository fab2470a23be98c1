-- Before a row is changed or removed: keeps what it holds, for the trigger that tells of it. The row is read where the
-- statement reads it, and a column is named only here, where its absence is noticed and nobody's statement fails.
CREATE TRIGGER {name} {moment} ON {table} FOR EACH ROW BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION INSERT INTO {broken} () VALUES ();
  SET {was} = NULL;
  SELECT {row} INTO {was} FROM {table} AS r WHERE r.{key} = OLD.{key} LOCK IN SHARE MODE;{rings}
END
