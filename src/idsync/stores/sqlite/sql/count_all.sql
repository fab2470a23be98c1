-- Counts what the store holds; part of one moment.
SELECT
  (SELECT count(*) FROM entity),
  (SELECT count(*) FROM inbox),
  (SELECT count(*) FROM wait),
  (SELECT count(*) FROM reread),
  (SELECT count(*) FROM conflict),
  (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())
