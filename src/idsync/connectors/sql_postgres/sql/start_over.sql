-- What the outbox holds may be history: from now on it only rings, under a transaction of this very server.
UPDATE {schema}.outbox SET tx = pg_current_xact_id(), op = 'ring', old = NULL, new = NULL, origin = NULL
