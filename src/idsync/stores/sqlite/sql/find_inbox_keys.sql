-- Finds the (peer, id) of many sequences, in the write transaction.
SELECT i.seq, i.peer, i.id FROM json_each(?) AS k CROSS JOIN inbox AS i ON i.seq = k.value
