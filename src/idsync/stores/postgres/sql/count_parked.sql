-- Counts the parked rows of one state, by destination; a single read.
SELECT destination, count(*) FROM parked WHERE state = $1 GROUP BY destination
