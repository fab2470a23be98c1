-- Finds who has which lease whose name begins so; a single read.
SELECT name, holder FROM lease WHERE starts_with(name, $1) AND until > clock_timestamp()
