-- Adds conflicts, in the transaction of the merge that met them.
INSERT INTO conflict (entity, at, doc) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])
