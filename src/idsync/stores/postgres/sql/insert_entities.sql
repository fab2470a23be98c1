-- Adds entities whose ids were claimed and looked up in the same transaction, so that none of them is there.
INSERT INTO entity (id, kind, rev, key, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::json[])
