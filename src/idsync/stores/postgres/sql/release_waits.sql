-- Makes due what waits for some keys; sees what was committed before it began.
UPDATE wait SET retry_at = $1 WHERE key = ANY ($2::text[])
