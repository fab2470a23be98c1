-- Keeps the highest ids ever given, in the transaction that gives them.
UPDATE registry SET seq = ?, delivery = ?
