-- What the server is now, the first transaction that has not begun, and the nonce of the last row that was read. One
-- statement is one snapshot; what it says of the write ahead log and of transactions is at least what made that snapshot.
SELECT pg_current_snapshot()::text AS snapshot,
  age(pg_snapshot_xmax(pg_current_snapshot())::xid) AS begun_since,
  (SELECT system_identifier::text FROM pg_control_system())
    || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS cluster,
  pg_current_wal_insert_lsn()::text AS written,
  (SELECT nonce::text FROM {schema}.outbox WHERE seq = $1::bigint) AS nonce
