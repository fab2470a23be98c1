-- What capture keeps in the application's database: these tables, and the triggers on its own. They are in the same
-- database, so that whoever restores it restores them too, and we notice. No constraint here may ever fail: the triggers
-- run inside the application's statements.
CREATE TABLE IF NOT EXISTS {outbox} (
  seq bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, -- drawn under the row's lock: grows with its changes
  nonce char(36) CHARACTER SET ascii NOT NULL, -- a restored database gives the same numbers to other rows
  at bigint NOT NULL, -- milliseconds
  kind longblob,
  op varchar(16) CHARACTER SET ascii NOT NULL, -- created, updated, deleted; ring: read it again; look: somebody looked
  id longblob,
  old longblob,
  new longblob,
  origin longblob -- the intent, where the write was ours
) ENGINE = InnoDB CHARACTER SET utf8mb4;
-- Says that a trigger could not read its row.
CREATE TABLE IF NOT EXISTS {broken} (
  seq bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY
) ENGINE = InnoDB;
-- Which tables still have to be rung for, and the last key that was.
CREATE TABLE IF NOT EXISTS {rings} (
  kind varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  after longtext
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- Which identity a create made: a create that is tried again makes no second one.
CREATE TABLE IF NOT EXISTS {receipts} (
  effect varbinary(255) NOT NULL PRIMARY KEY,
  id longtext
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- Last: where it has its row everything is here.
CREATE TABLE IF NOT EXISTS {capture} (
  one tinyint NOT NULL PRIMARY KEY,
  version int NOT NULL, -- of these tables
  generation char(16) CHARACTER SET ascii NOT NULL,
  rings_until bigint unsigned NOT NULL DEFAULT 0, -- rows up to this one are of an older generation: they only ring
  is_trimmed tinyint NOT NULL DEFAULT 0 -- whether this generation's first rows are gone: nobody can begin with it any more
) ENGINE = InnoDB;
INSERT IGNORE INTO {capture} (one, version, generation) VALUES (1, {version}, {generation})
