-- Ends a reread job unless it was asked for again since it was taken, in the transaction that ingests what was read.
DELETE FROM reread WHERE peer = $1 AND kind = $2 AND external_id = $3 AND asked_at = $4
