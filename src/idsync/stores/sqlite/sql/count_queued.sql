-- Counts the deliveries past the positions of their lanes, by destination; part of one moment.
SELECT l.destination, count(*) FROM lane AS l CROSS JOIN delivery AS d ON d.lane = l.id AND d.id > l.position
GROUP BY l.destination
