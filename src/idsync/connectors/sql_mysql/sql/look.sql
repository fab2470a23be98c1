-- What capture says of itself, and whether a trigger could not read its row. One statement is one snapshot.
SELECT version, generation, rings_until, is_trimmed, EXISTS (SELECT 1 FROM {broken}) FROM {capture}
