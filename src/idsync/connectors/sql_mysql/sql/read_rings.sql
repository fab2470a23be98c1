-- Which kinds still have to be rung for.
SELECT kind FROM {rings} ORDER BY kind
