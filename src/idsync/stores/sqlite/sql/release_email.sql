-- Ends the claims of many entities, in the write transaction; the next claim of the same e-mail counts from now on.
DELETE FROM email WHERE entity IN (SELECT k.value FROM json_each(?) AS k)
