-- Finds which e-mail each of many entities claims, in the transaction that has locked them.
SELECT entity, email FROM email WHERE entity = ANY ($1::text[])
