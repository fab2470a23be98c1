-- Names what follows in this transaction as ours: the triggers copy the intent into the outbox.
SELECT set_config('idsync.intent', {intent}, true)
