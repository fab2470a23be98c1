-- The rows up to a number, in order. One statement is one snapshot: of each identity it holds a prefix of its changes.
SELECT seq, nonce, at, CAST(kind AS char), op, id, old, new, CAST(origin AS char),
  coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0)
FROM {outbox}
WHERE seq <> %s AND seq <= %s ORDER BY seq
