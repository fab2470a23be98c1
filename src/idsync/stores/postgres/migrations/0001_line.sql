-- The first schema: inbox, directory, lanes, parked, attempts, registry. Instants are milliseconds since 1970.
-- oldest: 1
-- Tables that only grow are cut into four slots; a slot that nobody needs any more is truncated (decision 0010). Texts sort
-- by their bytes, so that no change of the machine's locale can break an index. Bodies of rows that name an entity are
-- sealed with its key (decision 0004).

-- Epochs of processes and leases. The other numbers are given in the order in which they are asked for, hence no cache.
CREATE SEQUENCE epoch_number;
CREATE SEQUENCE inbox_number;
CREATE SEQUENCE delivery_number CACHE 1;
CREATE SEQUENCE attempt_number;

-- Into which slot each of the growing tables is written, and since when.
CREATE TABLE ring (
  name text COLLATE "C" PRIMARY KEY,
  slot smallint NOT NULL,
  opened_at bigint
);
INSERT INTO ring (name, slot) VALUES ('inbox', 1), ('attempt', 1), ('delivery', 1), ('batch', 1);

-- Who does what, until when by the database's clock. Renewed often: room in each page keeps renewals within it.
CREATE TABLE lease (
  name text COLLATE "C" PRIMARY KEY,
  holder text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  until timestamptz NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- What is locked and compared where there is no row to lock: ids, e-mails and subjects, as hashes. Nothing of it matters once
-- its transaction has ended, hence no log; it is emptied when it has grown.
CREATE UNLOGGED TABLE claim (
  key bigint PRIMARY KEY
);

CREATE TABLE setting (
  name text COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL
);

-- How far each peer's outbox was read.
CREATE TABLE position (
  peer text COLLATE "C" PRIMARY KEY,
  doc json NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- One row for each identity, tombstones too. A NULL key is a destroyed one: the entity was erased. Its versions stand in the
-- index by their revs, and each is looked up from the newest down: those that a snapshot keeps alive are never passed
-- (decision 0012). Who adds one claims its id: no index says that there is one row for it.
CREATE TABLE entity (
  id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  rev bigint NOT NULL,
  key bytea,
  doc json NOT NULL,
  PRIMARY KEY (id, rev)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX entity_kind ON entity (kind, id);

-- Every id that an entity has or had at a peer, for ever. The id leads, so that operators can search for it alone.
CREATE TABLE link (
  external_id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  peer text COLLATE "C" NOT NULL,
  entity text COLLATE "C" NOT NULL,
  PRIMARY KEY (external_id, kind, peer)
);

-- Who holds which e-mail: live entities only. Where several claim one, the lowest claim counts.
CREATE TABLE email (
  claim bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity text COLLATE "C" NOT NULL UNIQUE,
  kind text COLLATE "C" NOT NULL,
  email text COLLATE "C" NOT NULL
);
CREATE INDEX email_claim ON email (email, kind, claim);

CREATE TABLE conflict (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  doc bytea NOT NULL
);
CREATE INDEX conflict_entity ON conflict (entity, id);

CREATE TABLE inbox (
  slot smallint NOT NULL,
  seq bigint NOT NULL,
  peer text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  type text NOT NULL,
  subject text NOT NULL,
  received_at bigint NOT NULL,
  verdict text NOT NULL,
  reason text,
  entity text COLLATE "C",
  event_id text,
  event_type text,
  event_subject text,
  version bigint NOT NULL,
  changed text NOT NULL,
  body bytea NOT NULL,
  trace text,
  PRIMARY KEY (seq, slot),
  UNIQUE (id, peer, slot)
) PARTITION BY LIST (slot);
CREATE INDEX inbox_entity ON inbox (entity, seq) WHERE entity IS NOT NULL;

-- Arrivals that wait; what they wait for releases them.
CREATE TABLE wait (
  seq bigint PRIMARY KEY,
  reason text NOT NULL,
  key text COLLATE "C",
  own_key text COLLATE "C",
  retry_at bigint,
  attempts integer NOT NULL,
  parked_at bigint NOT NULL
);
CREATE INDEX wait_key ON wait (key);
CREATE INDEX wait_own_key ON wait (own_key);
CREATE INDEX wait_due ON wait (retry_at, seq);

CREATE TABLE reread (
  peer text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  external_id text COLLATE "C" NOT NULL,
  asked_at bigint NOT NULL,
  retry_at bigint NOT NULL,
  attempts integer NOT NULL,
  PRIMARY KEY (peer, kind, external_id)
);
CREATE INDEX reread_due ON reread (retry_at);

CREATE TABLE lane (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  destination text COLLATE "C" NOT NULL,
  generation integer NOT NULL,
  level text NOT NULL,
  number integer NOT NULL,
  is_target boolean NOT NULL,
  UNIQUE (destination, generation, level, number)
);

-- Inserted and never updated. `xid` is the transaction that queued it, by which the ticker sees what is new. A NULL event: a
-- doorbell that nobody sent.
CREATE TABLE delivery (
  slot smallint NOT NULL,
  lane integer NOT NULL,
  id bigint NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  subject text NOT NULL,
  version bigint NOT NULL,
  event bigint,
  queued_at bigint NOT NULL,
  PRIMARY KEY (id, slot)
) PARTITION BY LIST (slot);
CREATE INDEX delivery_xid ON delivery (xid);
CREATE INDEX delivery_event ON delivery (event);

-- Each tick is a snapshot; what one shows and the one before did not is the tick's, in the order of ids.
CREATE TABLE tick (
  number bigint PRIMARY KEY,
  snapshot pg_snapshot NOT NULL
);
INSERT INTO tick (number, snapshot) VALUES (0, pg_current_snapshot());

-- The deliveries of one tick in one lane: found once, by the ticker, and then for ever in the same order.
CREATE TABLE batch (
  slot smallint NOT NULL,
  lane integer NOT NULL,
  tick bigint NOT NULL,
  last bigint NOT NULL,
  ids bigint[] NOT NULL,
  PRIMARY KEY (lane, tick, slot)
) PARTITION BY LIST (slot);

-- How far each lane was settled: inserted and never updated, the highest counts.
CREATE TABLE progress (
  lane integer NOT NULL,
  tick bigint NOT NULL,
  id bigint NOT NULL
);
CREATE INDEX progress_lane ON progress (lane, tick, id);

CREATE TABLE parked (
  id bigint PRIMARY KEY,
  destination text COLLATE "C" NOT NULL,
  lane integer NOT NULL,
  subject text COLLATE "C" NOT NULL,
  event bigint,
  version bigint NOT NULL,
  event_id text NOT NULL,
  event_type text NOT NULL,
  body bytea NOT NULL,
  reason text NOT NULL,
  attempts integer NOT NULL,
  retry_at bigint,
  state text NOT NULL,
  parked_at bigint NOT NULL,
  first_at bigint NOT NULL,
  trace text,
  entity text COLLATE "C"
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX parked_event ON parked (event);
CREATE INDEX parked_lane ON parked (lane, id);
CREATE INDEX parked_key ON parked (destination, subject, id);

CREATE TABLE attempt (
  slot smallint NOT NULL,
  id bigint NOT NULL DEFAULT nextval('attempt_number'),
  delivery bigint NOT NULL,
  event bigint NOT NULL,
  destination text NOT NULL,
  subject text NOT NULL,
  number integer NOT NULL,
  at bigint NOT NULL,
  outcome text NOT NULL,
  status integer,
  error text,
  latency_ms double precision NOT NULL,
  response bytea NOT NULL,
  trace text,
  entity text COLLATE "C",
  PRIMARY KEY (id, slot)
) PARTITION BY LIST (slot);
CREATE INDEX attempt_event ON attempt (event, id);

CREATE TABLE command (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  doc bytea NOT NULL
);

DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT r.name FROM ring AS r LOOP
    FOR slot IN 1..4 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s)', name || '_' || slot, name, slot);
    END LOOP;
  END LOOP;
END
$$;
