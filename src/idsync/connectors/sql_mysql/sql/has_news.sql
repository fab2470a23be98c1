-- Whether anything is there but the last row that was read.
SELECT 1 FROM {outbox} WHERE seq <> %s LIMIT 1
