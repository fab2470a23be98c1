-- Takes a number of the outbox for a look, in the transaction that holds the row and after it was locked. The row stays
-- until it is read: once it was, so was everything that the look shows.
INSERT INTO {outbox} (nonce, at, kind, op) VALUES (uuid(), 0, '', 'look')
