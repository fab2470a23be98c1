-- What capture keeps in the application's database: one schema of its own, and in it these tables and the triggers'
-- functions. Run in one transaction with the triggers. No constraint here may ever fail: the triggers run inside the
-- application's statements.
CREATE SCHEMA {schema};

CREATE TABLE {schema}.outbox (
  tx xid8 NOT NULL DEFAULT pg_current_xact_id(), -- the top-level transaction; first, so that it is older than the number
  seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY, -- drawn under the row's lock: grows with its changes
  nonce uuid NOT NULL DEFAULT gen_random_uuid(), -- a restored database gives the same numbers to other rows
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind text,
  op text, -- created, updated, deleted; ring: read it again; broken: a trigger could not read its row
  id text,
  old jsonb,
  new jsonb,
  origin text -- the intent, where the write was ours
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0);
CREATE INDEX outbox_of_transaction ON {schema}.outbox (tx, seq);
CREATE INDEX outbox_broken ON {schema}.outbox (seq) WHERE op = 'broken';

CREATE TABLE {schema}.capture (
  one boolean PRIMARY KEY DEFAULT true,
  version integer NOT NULL, -- of these tables
  generation text NOT NULL,
  is_trimmed boolean NOT NULL DEFAULT false -- whether this generation's first rows are gone: nobody can begin with it any more
);

-- Which tables still have to be rung for, and the last key that was.
CREATE TABLE {schema}.rings (
  kind text PRIMARY KEY,
  after text
);

-- Which identity a create made: a create that is tried again makes no second one.
CREATE TABLE {schema}.receipts (
  effect text PRIMARY KEY,
  id text
);
