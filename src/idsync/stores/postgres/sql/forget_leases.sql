-- Deletes leases that have been over for a day: those of processes that never came back.
DELETE FROM lease WHERE until < clock_timestamp() - interval '1 day'
