-- Counts the rows of one slot; a single read.
SELECT count(*) FROM delivery WHERE slot = $1
