-- Finds the epochs of many leases, over or not, in the write transaction: what a plan was made under is compared with them.
SELECT l.name, l.epoch FROM json_each(?) AS k CROSS JOIN lease AS l ON l.name = k.value
