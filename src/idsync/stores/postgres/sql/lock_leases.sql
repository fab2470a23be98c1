-- Reads the leases that a plan was made under and keeps them from being taken until its transaction ends. Taking one locks
-- its row FOR UPDATE; renewing one changes no key, so that it need not wait for this.
SELECT name, epoch FROM lease WHERE name = ANY ($1::text[]) ORDER BY name FOR KEY SHARE
