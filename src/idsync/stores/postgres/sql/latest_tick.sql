-- Reads the newest tick, which is kept when the others are forgotten; where nobody else can make one.
SELECT number, snapshot::text FROM tick ORDER BY number DESC LIMIT 1
