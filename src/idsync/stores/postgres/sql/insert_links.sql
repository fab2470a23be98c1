-- Adds ids of entities at peers, claimed in the same transaction; one that its owner gave up in it passes to the new owner.
INSERT INTO link (peer, kind, external_id, entity)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (external_id, kind, peer) DO UPDATE SET entity = excluded.entity
