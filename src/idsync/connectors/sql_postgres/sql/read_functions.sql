-- Every function of ours with its body. Reads one snapshot.
SELECT proname AS name, prosrc AS body FROM pg_proc WHERE pronamespace = to_regnamespace($1::text)
