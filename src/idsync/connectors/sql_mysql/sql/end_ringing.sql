-- Says that a table was rung for to its end.
DELETE FROM {rings} WHERE kind = %s
