-- Reads the newest conflicts first, of all entities, with the keys that open them; a single read.
SELECT c.entity, c.at, c.doc, e.key FROM conflict AS c LEFT JOIN entity AS e ON e.id = c.entity ORDER BY c.id DESC LIMIT ?
