-- The first schema: inbox, directory, lanes, parked, attempts, registry. Instants are milliseconds since 1970.
-- Bodies of rows that name an entity are sealed with its key; destroying the key erases them (decision 0004).

-- What the service counts by: one row. `epoch`, `seq` and `delivery` are the highest ever given, so that none is given twice;
-- `started` is the epoch of the process that owns the file.
CREATE TABLE registry (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL,
  started INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  delivery INTEGER NOT NULL
) STRICT;
INSERT INTO registry (id, epoch, started, seq, delivery) VALUES (1, 0, 0, 0, 0);

-- Who does what within the one process; `until_ms` is by its monotonic clock.
CREATE TABLE lease (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each peer's outbox was read.
CREATE TABLE position (
  peer TEXT PRIMARY KEY,
  generation TEXT NOT NULL,
  number INTEGER NOT NULL,
  nonce TEXT NOT NULL,
  mark TEXT NOT NULL -- whatever else the peer's Source needs; only it reads this
) STRICT, WITHOUT ROWID;

-- One row for each identity, tombstones too. A NULL key is a destroyed one: the entity was erased.
CREATE TABLE entity (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  rev INTEGER NOT NULL,
  key BLOB,
  doc BLOB NOT NULL
) STRICT;
CREATE INDEX entity_kind ON entity (kind, id);

-- Every id that an entity has or had at a peer, for ever. The id leads, so that operators can search for it alone.
CREATE TABLE link (
  external_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  peer TEXT NOT NULL,
  entity TEXT NOT NULL,
  PRIMARY KEY (external_id, kind, peer)
) STRICT, WITHOUT ROWID;

-- Who holds which e-mail: live entities only. Where several claim one, the lowest claim counts.
CREATE TABLE email (
  claim INTEGER PRIMARY KEY,
  entity TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  email TEXT NOT NULL
) STRICT;
CREATE INDEX email_claim ON email (email, kind, claim);

CREATE TABLE conflict (
  id INTEGER PRIMARY KEY,
  entity TEXT NOT NULL,
  at INTEGER NOT NULL,
  doc BLOB NOT NULL
) STRICT;
CREATE INDEX conflict_entity ON conflict (entity, id);

CREATE TABLE inbox (
  seq INTEGER PRIMARY KEY,
  peer TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT,
  entity TEXT,
  event_id TEXT,
  event_type TEXT,
  event_subject TEXT,
  version INTEGER NOT NULL,
  changed TEXT NOT NULL,
  body BLOB NOT NULL,
  trace TEXT,
  UNIQUE (peer, id)
) STRICT;
CREATE INDEX inbox_entity ON inbox (entity, seq) WHERE entity IS NOT NULL;

-- Arrivals that wait. What references the inbox keeps its rows from being trimmed.
CREATE TABLE wait (
  seq INTEGER PRIMARY KEY REFERENCES inbox (seq),
  reason TEXT NOT NULL,
  key TEXT,
  own_key TEXT,
  retry_at INTEGER,
  attempts INTEGER NOT NULL,
  parked_at INTEGER NOT NULL
) STRICT;
CREATE INDEX wait_key ON wait (key) WHERE key IS NOT NULL;
CREATE INDEX wait_own_key ON wait (own_key) WHERE own_key IS NOT NULL;
CREATE INDEX wait_due ON wait (retry_at, seq) WHERE retry_at IS NOT NULL;

CREATE TABLE reread (
  peer TEXT NOT NULL,
  kind TEXT NOT NULL,
  external_id TEXT NOT NULL,
  asked_at INTEGER NOT NULL,
  retry_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  PRIMARY KEY (peer, kind, external_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reread_due ON reread (retry_at);

CREATE TABLE lane (
  id INTEGER PRIMARY KEY,
  destination TEXT NOT NULL,
  generation INTEGER NOT NULL,
  level TEXT NOT NULL,
  number INTEGER NOT NULL,
  is_target INTEGER NOT NULL,
  position INTEGER NOT NULL DEFAULT 0,
  UNIQUE (destination, generation, level, number)
) STRICT;

-- Inserted, read in order, deleted behind the lane's position; never updated. A NULL event: a doorbell that nobody sent.
CREATE TABLE delivery (
  lane INTEGER NOT NULL REFERENCES lane (id),
  id INTEGER NOT NULL,
  subject TEXT NOT NULL,
  version INTEGER NOT NULL,
  event INTEGER REFERENCES inbox (seq),
  queued_at INTEGER NOT NULL,
  PRIMARY KEY (lane, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_event ON delivery (event);

CREATE TABLE parked (
  id INTEGER PRIMARY KEY,
  destination TEXT NOT NULL,
  lane INTEGER NOT NULL REFERENCES lane (id),
  subject TEXT NOT NULL,
  event INTEGER REFERENCES inbox (seq),
  version INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  body BLOB NOT NULL,
  reason TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  retry_at INTEGER,
  state TEXT NOT NULL,
  parked_at INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  trace TEXT,
  entity TEXT
) STRICT;
CREATE INDEX parked_event ON parked (event);
CREATE INDEX parked_lane ON parked (lane);
CREATE INDEX parked_key ON parked (destination, subject, id);

CREATE TABLE attempt (
  id INTEGER PRIMARY KEY,
  delivery INTEGER NOT NULL,
  event INTEGER NOT NULL,
  destination TEXT NOT NULL,
  subject TEXT NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER,
  error TEXT,
  latency_ms REAL NOT NULL,
  response BLOB NOT NULL,
  trace TEXT,
  entity TEXT
) STRICT;
CREATE INDEX attempt_event ON attempt (event);

CREATE TABLE command (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  doc BLOB NOT NULL
) STRICT;
