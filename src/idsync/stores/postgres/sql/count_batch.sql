-- Counts the rows of one slot; a single read.
SELECT count(*) FROM batch WHERE slot = $1
