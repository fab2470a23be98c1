-- Adds claims of e-mails behind those that are there, claimed in the same transaction.
INSERT INTO email (entity, kind, email) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
