-- Replaces one value of the service itself by $2 where it is still $3; of two who do so at once one wins.
UPDATE setting SET value = $2 WHERE name = $1 AND value = $3
