-- Sets of ids: person_id is the set's key (the id with the smallest hash), so that joining two sets rewrites few rows; the
-- person's own id, its name, is in the key's row alone.
--
-- merged_away: the id was merged into another. In the row of the key: name, the smallest id of the set (least), and how many
-- were never merged into another (roots). Rows of before have no name: there person_id is the name, until a merge
-- touches the set. Versions of now are above 2^32, those of before were numbers of merges.
-- Roll back: none that keeps people's ids (the version before takes the keys for them).
ALTER TABLE person_ids {on_cluster} ADD COLUMN IF NOT EXISTS merged_away Bool;
ALTER TABLE person_ids {on_cluster} ADD COLUMN IF NOT EXISTS name String;
ALTER TABLE person_ids {on_cluster} ADD COLUMN IF NOT EXISTS least String;
ALTER TABLE person_ids {on_cluster} ADD COLUMN IF NOT EXISTS roots UInt32;
