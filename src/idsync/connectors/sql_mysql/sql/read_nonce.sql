-- The nonce of the last row that was read.
SELECT nonce FROM {outbox} WHERE seq = %s
