-- Finds who has which lease at a moment; a single read.
SELECT name, holder FROM lease WHERE until_ms > ?
