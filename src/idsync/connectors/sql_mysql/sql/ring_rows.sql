-- Rings for the rows of a page, in key order.
INSERT INTO {outbox} (nonce, at, kind, op, id)
SELECT uuid(), {now}, {kind}, 'ring', {text} FROM {table} AS r WHERE r.{key} IS NOT NULL {after} ORDER BY r.{key}
