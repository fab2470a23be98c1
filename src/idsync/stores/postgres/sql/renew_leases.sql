-- Keeps the leases that are the holder's and not over, by the database's clock.
UPDATE lease SET until = clock_timestamp() + make_interval(secs => $3)
WHERE holder = $1 AND name = ANY ($2::text[]) AND until > clock_timestamp()
RETURNING name, epoch
