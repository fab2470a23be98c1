-- What a write told the outbox, in this transaction, past a number.
SELECT seq, id FROM {outbox}
WHERE seq > %s AND origin = CAST(%s AS BINARY) AND kind = CAST(%s AS BINARY) AND op <> 'ring' ORDER BY seq
