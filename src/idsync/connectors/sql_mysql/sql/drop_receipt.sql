-- Gives up what a create made: the next one makes a new identity. In the transaction that finds it gone.
DELETE FROM {receipts} WHERE effect = CAST(%s AS BINARY)
