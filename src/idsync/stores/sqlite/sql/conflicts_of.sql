-- Reads the newest conflicts first, of one entity, with the key that opens them; a single read.
SELECT c.entity, c.at, c.doc, e.key
FROM conflict AS c LEFT JOIN entity AS e ON e.id = c.entity
WHERE c.entity = ?
ORDER BY c.id DESC
LIMIT ?
