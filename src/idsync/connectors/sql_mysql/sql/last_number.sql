-- The newest number that is visible, and how many bytes a statement may have.
SELECT coalesce(max(seq), 0), @@max_allowed_packet FROM {outbox}
