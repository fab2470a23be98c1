-- Draws an epoch for leases that are taken, in the write transaction: higher than any that was given before.
UPDATE registry SET epoch = epoch + 1 RETURNING epoch
