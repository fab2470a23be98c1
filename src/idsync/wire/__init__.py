"""Pure bytes: signatures, addresses, and the shapes that events have outside. No clock, no I/O, no state."""
