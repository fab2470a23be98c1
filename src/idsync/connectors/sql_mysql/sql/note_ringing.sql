-- Says how far a table was rung for.
UPDATE {rings} SET after = %s WHERE kind = %s
