-- Locks leases that are over, in the order of their names: waits until every plan that was made under them has ended.
SELECT name FROM lease WHERE name = ANY ($1::text[]) AND until <= clock_timestamp() ORDER BY name FOR UPDATE
