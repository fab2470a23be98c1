-- Says which identity a create made. In its transaction.
INSERT INTO {schema}.receipts (effect, id) VALUES ($1::text, $2::text) ON CONFLICT (effect) DO UPDATE SET id = excluded.id
