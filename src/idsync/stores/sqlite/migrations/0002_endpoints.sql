-- What endpoints need: events that are held back until an instant, and where the time of each try went.
ALTER TABLE inbox ADD COLUMN not_before INTEGER;
ALTER TABLE attempt ADD COLUMN phases TEXT; -- [dns, connect, tls, wait, read] in milliseconds
