-- Says that this generation's first rows are about to go: nobody can begin with it any more.
UPDATE {schema}.capture SET is_trimmed = true WHERE NOT is_trimmed
