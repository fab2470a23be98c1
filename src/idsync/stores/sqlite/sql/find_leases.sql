-- Finds which of many leases somebody has at a moment, in the write transaction.
SELECT l.name, l.holder, l.epoch FROM json_each(?1) AS k CROSS JOIN lease AS l ON l.name = k.value AND l.until_ms > ?2
