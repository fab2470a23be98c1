-- Counts the rows of one slot; a single read.
SELECT count(*) FROM attempt WHERE slot = $1
