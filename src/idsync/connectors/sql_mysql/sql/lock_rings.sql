-- How far a table was rung for, locked against others who ring for it; no row: to its end.
SELECT after FROM {rings} WHERE kind = %s FOR UPDATE
