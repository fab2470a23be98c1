-- Takes leases that nobody has, or that are over and locked.
INSERT INTO lease AS l (name, holder, epoch, until)
SELECT DISTINCT ON (k.name) k.name, $1, nextval('epoch_number'), clock_timestamp() + make_interval(secs => $3)
FROM unnest($2::text[]) AS k (name) ORDER BY k.name
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, until = excluded.until
WHERE l.until <= clock_timestamp() AND l.name = ANY ($4::text[])
RETURNING name, epoch
