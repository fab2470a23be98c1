-- Writes entities whose rows were locked and compared in the same transaction, so that each is there; their keys stay.
INSERT INTO entity (id, kind, rev, key, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::json[])
ON CONFLICT (id) DO UPDATE SET rev = excluded.rev, doc = excluded.doc
