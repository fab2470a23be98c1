-- Keeps where events go from being changed until this transaction has ended; many may. `idrs`: the advisory lock of that. It is
-- fair: whoever is to change it waits only for those who came before.
SELECT pg_advisory_xact_lock_shared(x'0000000069647273'::bigint)
