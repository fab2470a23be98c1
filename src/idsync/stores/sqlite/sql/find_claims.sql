-- Finds which e-mail each of many entities claims, in the write transaction.
SELECT m.entity, m.email FROM json_each(?) AS k CROSS JOIN email AS m ON m.entity = k.value
