-- Deletes inbox rows from ?2 (left out) to ?3 that came before ?1, unless a wait, a parked row or a delivery needs them; in a
-- write transaction, after deliveries were trimmed.
DELETE FROM inbox
WHERE seq > ?2 AND seq <= ?3 AND received_at < ?1
  AND NOT EXISTS (SELECT 1 FROM wait AS w WHERE w.seq = inbox.seq)
  AND NOT EXISTS (SELECT 1 FROM parked AS p WHERE p.event = inbox.seq)
  AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event = inbox.seq)
