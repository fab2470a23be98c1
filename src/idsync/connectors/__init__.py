"""How idsync speaks with each kind of peer: a Source, a Reader, a Target, or all three. Strangers to each other."""
