-- Ends every lease, in the transaction that begins the epoch of the only process.
DELETE FROM lease
