-- Adds claims of e-mails behind those that are there, in the write transaction.
INSERT INTO email (entity, kind, email) VALUES (?, ?, ?)
