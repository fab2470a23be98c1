-- Begins a new epoch, in a write transaction: plans that commit later under an older one are fenced.
UPDATE registry SET epoch = epoch + 1, started = epoch + 1 RETURNING started
