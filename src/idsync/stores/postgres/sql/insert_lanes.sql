-- Opens lanes, under the lock of who opens lanes.
INSERT INTO lane (destination, generation, level, number, is_target)
SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::boolean[])
