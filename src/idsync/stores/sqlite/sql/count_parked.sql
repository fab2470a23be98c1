-- Counts the parked rows of one state, by destination; part of one moment.
SELECT destination, count(*) FROM parked WHERE state = ? GROUP BY destination
