-- Finds the (peer, id) of many sequences, in a plan's transaction.
SELECT seq, peer, id FROM inbox WHERE seq = ANY ($1::bigint[])
