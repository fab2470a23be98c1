-- Reads all lanes there are, older generations first; they are few and never end.
SELECT id, destination, level, generation, number, is_target FROM lane ORDER BY generation, number
