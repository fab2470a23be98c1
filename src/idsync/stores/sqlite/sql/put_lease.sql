-- Keeps or takes leases that were found to be free or ours, in the same write transaction.
INSERT INTO lease (name, holder, epoch, until_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, until_ms = excluded.until_ms
