-- Begins a new generation: what the outbox holds may be history, and only rings from now on.
UPDATE {capture} SET generation = %s, is_trimmed = 0, rings_until = %s
