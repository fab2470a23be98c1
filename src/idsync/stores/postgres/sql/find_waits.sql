-- Locks those of many sequences that still wait: what is settled is not settled twice.
SELECT seq FROM wait WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE
