-- Ends a reread job unless it was asked for again since it was taken, in the transaction that ingests what was read.
DELETE FROM reread WHERE peer = ? AND kind = ? AND external_id = ? AND asked_at <= ?
