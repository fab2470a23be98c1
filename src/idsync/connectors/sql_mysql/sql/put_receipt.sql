-- Says which identity a create made. In its transaction.
INSERT INTO {receipts} (effect, id) VALUES (%s, %s) ON DUPLICATE KEY UPDATE id = %s
