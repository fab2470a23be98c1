-- Makes due what waits for some keys, or speaks of the identities that they name, in the transaction that fulfils them.
UPDATE wait SET retry_at = ?1
WHERE key IN (SELECT k.value FROM json_each(?2) AS k) OR own_key IN (SELECT k.value FROM json_each(?2) AS k)
