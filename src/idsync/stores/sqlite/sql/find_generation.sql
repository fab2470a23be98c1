-- Finds the newest generation of a destination's lanes, and how many each level has, in the write transaction.
SELECT generation, count(*) FROM lane
WHERE destination = ? AND level = ?
GROUP BY generation ORDER BY generation DESC LIMIT 1
