-- The four tables that capture keeps in the application's own database. Run in one transaction with the triggers.
-- No constraint here may ever fail: the triggers run inside the application's statements.
CREATE TABLE IF NOT EXISTS idsync_outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, -- one writer at a time: this order is commit order
  nonce TEXT DEFAULT (hex(randomblob(8))), -- a restored database gives the same numbers to other rows
  at INTEGER DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)), -- milliseconds since 1970
  kind TEXT,
  op TEXT, -- created, updated, deleted; ring: read it again
  id, -- text or integer, as the key column has it
  old TEXT,
  new TEXT,
  origin TEXT -- the intent, where the write was ours
);

CREATE TABLE IF NOT EXISTS idsync_capture (
  one INTEGER PRIMARY KEY, -- always 1
  peer TEXT,
  version INTEGER, -- of these tables
  generation TEXT,
  rings_until INTEGER DEFAULT 0, -- rows up to this one are of an older generation: they only ring
  is_trimmed INTEGER DEFAULT 0 -- whether this generation's first rows are gone: nobody can begin with it any more
);

-- Which tables still have to be rung for, and the last key that was.
CREATE TABLE IF NOT EXISTS idsync_rings (
  kind TEXT PRIMARY KEY,
  after
);

-- One row, and only while a transaction of idsync is open: the triggers copy it into the outbox.
CREATE TABLE IF NOT EXISTS idsync_writer (
  one INTEGER PRIMARY KEY, -- always 1
  origin TEXT
);

-- Which identity a create made: a create that is tried again makes no second one.
CREATE TABLE IF NOT EXISTS idsync_receipts (
  effect TEXT PRIMARY KEY,
  id
);
