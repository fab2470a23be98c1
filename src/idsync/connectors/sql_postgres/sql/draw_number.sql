-- Takes a number of the outbox for a look. In the transaction that holds the row, and after it was locked.
SELECT nextval('{schema}.outbox_seq_seq')
