-- Says how far lanes are settled; a lane that was never opened is left out.
INSERT INTO progress (lane, tick, id)
SELECT k.lane, k.tick, k.id
FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS k (lane, tick, id)
JOIN lane AS l ON l.id = k.lane
