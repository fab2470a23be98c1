-- Reads the epoch of this process and the highest ids ever given; inside the write transaction nobody else moves them.
SELECT started, seq, delivery FROM registry
