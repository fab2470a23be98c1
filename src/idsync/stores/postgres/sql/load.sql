-- Reads what a batch must know, in one statement and so as of one moment: known events, links, who claimed an e-mail first, and
-- the entities that are asked for or led to. Each key is looked up by itself: a plan that was made while a table was small
-- must not walk it when it has grown.
WITH known AS MATERIALIZED (
  SELECT k.peer, k.id, i.verdict, i.reason, i.entity
  FROM unnest($1::text[], $2::text[]) AS k (peer, id)
  CROSS JOIN LATERAL (
    SELECT x.verdict, x.reason, x.entity FROM inbox AS x WHERE x.id = k.id AND x.peer = k.peer OFFSET 0
  ) AS i
), links AS MATERIALIZED (
  SELECT k.peer, k.kind, k.external_id, l.entity
  FROM unnest($3::text[], $4::text[], $5::text[]) AS k (peer, kind, external_id)
  CROSS JOIN LATERAL (
    SELECT x.entity FROM link AS x
    WHERE x.external_id = k.external_id AND x.kind = k.kind AND x.peer = k.peer
    OFFSET 0
  ) AS l
), emails AS MATERIALIZED (
  SELECT k.kind, k.email, m.entity
  FROM unnest($6::text[], $7::text[]) AS k (kind, email)
  CROSS JOIN LATERAL (
    SELECT x.entity FROM email AS x WHERE x.email = k.email AND x.kind = k.kind ORDER BY x.claim LIMIT 1
  ) AS m
), wanted AS MATERIALIZED (
  SELECT entity FROM links UNION SELECT entity FROM emails UNION SELECT k.id FROM unnest($8::text[]) AS k (id)
)
SELECT 'known', peer, id, verdict, reason, entity, NULL::json FROM known
UNION ALL SELECT 'link', peer, kind, external_id, NULL, entity, NULL FROM links
UNION ALL SELECT 'email', kind, email, NULL, NULL, entity, NULL FROM emails
UNION ALL
SELECT 'entity', NULL, NULL, NULL, NULL, w.entity, e.doc
FROM wanted AS w CROSS JOIN LATERAL (SELECT x.doc FROM entity AS x WHERE x.id = w.entity ORDER BY x.rev DESC LIMIT 1) AS e
