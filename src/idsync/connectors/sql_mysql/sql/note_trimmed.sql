-- Says that this generation's first rows are about to go: nobody can begin with it any more.
UPDATE {capture} SET is_trimmed = 1 WHERE is_trimmed = 0
