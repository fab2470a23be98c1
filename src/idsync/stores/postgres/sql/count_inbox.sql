-- Counts the rows of one slot; a single read.
SELECT count(*) FROM inbox WHERE slot = $1
