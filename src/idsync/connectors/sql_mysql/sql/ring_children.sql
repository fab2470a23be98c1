-- Rings for the rows that the database removes with one: no trigger of theirs fires.
INSERT INTO {outbox} (nonce, at, kind, op, id, origin)
SELECT uuid(), {now}, {kind}, 'ring', {text}, @idsync_intent FROM {table} AS r WHERE {same}
