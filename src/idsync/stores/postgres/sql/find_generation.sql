-- Finds the newest generation of a destination's lanes, and how many each level has, under the lock of who opens lanes.
SELECT generation, count(*) FROM lane
WHERE destination = $1 AND level = $2
GROUP BY generation ORDER BY generation DESC LIMIT 1
