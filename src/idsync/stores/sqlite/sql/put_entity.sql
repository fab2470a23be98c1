-- Writes entities whose rev was compared in the same transaction; the key of one that is there stays.
INSERT INTO entity (id, kind, rev, key, doc) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET rev = excluded.rev, doc = excluded.doc
