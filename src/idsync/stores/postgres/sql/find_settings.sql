-- Reads the values whose names begin so, in the order of names; a single read. Names sort by their bytes, and nothing sorts
-- behind the last code point, which is no character.
SELECT name, value FROM setting WHERE name >= $1 AND name < $1 || U&'\+10FFFF' ORDER BY name
