"""The Store in its forms: one package each, strangers to each other."""
