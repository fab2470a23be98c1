-- Which identity a create made; no row: it has made none.
SELECT id FROM {schema}.receipts WHERE effect = $1::text
