-- Finds the entities behind many (peer, kind, external id), as one JSON text; part of one moment, or of the write transaction.
SELECT json_group_array(json_array(l.peer, l.kind, l.external_id, l.entity))
FROM json_each(?) AS k
CROSS JOIN link AS l ON l.external_id = k.value ->> 2 AND l.kind = k.value ->> 1 AND l.peer = k.value ->> 0
