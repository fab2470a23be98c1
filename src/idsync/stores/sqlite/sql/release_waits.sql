-- Makes due what waits for some keys, in the transaction that fulfils them.
UPDATE wait SET retry_at = ?1 WHERE key IN (SELECT k.value FROM json_each(?2) AS k)
