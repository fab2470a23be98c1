-- Reads all lanes there are, and whether each is a Target's: lanes are few and never end.
SELECT id, is_target FROM lane
