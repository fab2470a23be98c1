-- Makes due what speaks of the identities that some keys name, unless it waits for one of them and is due already.
UPDATE wait SET retry_at = $1 WHERE own_key = ANY ($2::text[]) AND (key IS NULL OR key <> ALL ($2::text[]))
