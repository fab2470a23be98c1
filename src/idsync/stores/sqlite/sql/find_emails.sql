-- Finds the entities that claim many (kind, e-mail), earlier claims first, as one JSON text; part of one moment.
SELECT json_group_array(json_array(m.kind, m.email, m.entity) ORDER BY m.claim)
FROM json_each(?) AS k
CROSS JOIN email AS m ON m.email = k.value ->> 1 AND m.kind = k.value ->> 0
