-- Opens another slot, or notes when the open one was first seen; where the table is held against everybody who inserts.
UPDATE ring SET slot = $2, opened_at = $3 WHERE name = $1
