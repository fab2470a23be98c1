-- What tells since when the oldest delivery waits, and counts those that do, without a look at their bodies.
CREATE INDEX parked_oldest ON parked (destination, state, first_at);
