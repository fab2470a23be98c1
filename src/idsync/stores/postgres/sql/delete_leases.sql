-- Gives leases back, as far as they are the holder's; waits until every plan that was made under them has ended.
DELETE FROM lease WHERE holder = $1 AND name = ANY ($2::text[])
