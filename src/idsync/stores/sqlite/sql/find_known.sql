-- Finds which of many (peer, id) are known, with the receipt of each, as one JSON text; part of one moment, or of the write
-- transaction.
SELECT json_group_array(json_array(i.peer, i.id, i.verdict, i.reason, i.entity))
FROM json_each(?) AS k
CROSS JOIN inbox AS i ON i.peer = k.value ->> 0 AND i.id = k.value ->> 1
