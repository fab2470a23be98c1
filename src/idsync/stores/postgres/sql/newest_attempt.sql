-- Reads when the last try of a slot was made; a single read.
SELECT at FROM attempt WHERE slot = $1 ORDER BY id DESC LIMIT 1
