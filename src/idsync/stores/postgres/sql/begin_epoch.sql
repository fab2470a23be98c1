-- Draws an epoch, higher than any before.
SELECT nextval('epoch_number')
