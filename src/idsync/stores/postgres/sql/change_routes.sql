-- Waits until every plan under way that was routed has ended, and keeps others from passing, until this transaction has ended.
SELECT pg_advisory_xact_lock(x'0000000069647273'::bigint)
