-- Reads the leases that a plan was made under, as `lock_leases` does, once every other plan that was made under them has ended.
SELECT name, epoch FROM lease WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE
