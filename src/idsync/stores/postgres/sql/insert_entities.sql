-- Adds entities that must not exist yet; one that does by now breaks the constraint, and the plan is tried again.
INSERT INTO entity (id, kind, rev, key, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::json[])
