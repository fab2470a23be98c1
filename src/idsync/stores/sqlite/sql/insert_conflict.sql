-- Adds conflicts, in the transaction of the merge that met them.
INSERT INTO conflict (entity, at, doc) VALUES (?, ?, ?)
