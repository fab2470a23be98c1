-- Adds ids of entities at peers, in the write transaction; an id that another entity has breaks the constraint.
INSERT INTO link (peer, kind, external_id, entity) VALUES (?, ?, ?, ?)
