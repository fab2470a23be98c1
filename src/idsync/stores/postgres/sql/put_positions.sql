-- Moves the positions of peers' outboxes, in the transaction that ingests the rows before them.
INSERT INTO position (peer, doc) SELECT * FROM unnest($1::text[], $2::json[])
ON CONFLICT (peer) DO UPDATE SET doc = excluded.doc
