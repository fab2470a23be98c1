-- Finds which of many sequences still wait, in the write transaction: what is settled is not settled twice.
SELECT w.seq FROM json_each(?) AS k CROSS JOIN wait AS w ON w.seq = k.value
