-- Reads the values whose names begin so, in the order of names; a single read, current as of now. Names sort by their bytes, and
-- nothing sorts behind the last code point, which is no character.
SELECT name, value FROM setting WHERE name >= ?1 AND name < ?1 || char(0x10FFFF) ORDER BY name
