-- Writes entities whose rows were locked and compared in the same transaction, so that each is there; their keys stay. Each
-- is found in the index by the rev it has: whatever the table held when this was planned, it is never walked.
UPDATE entity AS e SET rev = k.rev, doc = k.doc
FROM (
  SELECT one.rev, one.doc, x.row
  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::json[]) AS one (id, old, rev, doc)
  CROSS JOIN LATERAL (SELECT y.ctid AS row FROM entity AS y WHERE y.id = one.id AND y.rev = one.old OFFSET 0) AS x
) AS k
WHERE e.ctid = k.row
