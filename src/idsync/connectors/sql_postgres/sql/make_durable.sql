-- Makes sure that what a snapshot saw survives a crash: else a transaction's number that it names could be given again.
SELECT CASE WHEN pg_current_wal_flush_lsn() < $1::text::pg_lsn THEN pg_logical_emit_message(true, 'idsync', '') END::text
