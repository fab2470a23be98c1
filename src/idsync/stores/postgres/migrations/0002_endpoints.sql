-- What endpoints need: events that are held back until an instant, and where the time of each try went.
-- oldest: 1
-- Both may be missing, and no row is rewritten: a process that knows only the first step works on and leaves them out.
ALTER TABLE inbox ADD COLUMN not_before bigint;
ALTER TABLE attempt ADD COLUMN phases text; -- [dns, connect, tls, wait, read] in milliseconds
