"""Pure decisions: no I/O, no clock, no randomness. The same input always gives the same answer."""
