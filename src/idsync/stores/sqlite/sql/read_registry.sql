-- Reads the epoch and the highest ids ever given; inside the write transaction nobody else moves them.
SELECT epoch, seq, delivery FROM registry
