-- Which identity a create made; no row: it has made none.
SELECT id FROM {receipts} WHERE effect = CAST(%s AS BINARY)
