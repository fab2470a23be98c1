-- The next rows by number and what each weighs. Numbers become visible out of order: so nothing that is here is ever
-- passed over, and nothing stays here that was read.
SELECT seq, coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0) FROM {outbox}
WHERE seq <> %s ORDER BY seq LIMIT %s
