-- Adds ids of entities at peers, in the write transaction; one that its owner gave up in it passes to the new owner.
INSERT INTO link (peer, kind, external_id, entity) VALUES (?, ?, ?, ?)
ON CONFLICT (external_id, kind, peer) DO UPDATE SET entity = excluded.entity
