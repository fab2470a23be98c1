-- Ends the claims of many entities; the next claim of the same e-mail counts from the commit on.
DELETE FROM email WHERE entity = ANY ($1::text[])
