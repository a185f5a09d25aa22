-- Deletions that were asked for, and the ids whose events up to a time are deleted (also those that come in later: every
-- read leaves them out). The row with the highest version counts; finished_at is 1970 until the data are gone.
--
-- Roll back: DROP TABLE deleted_ids; DROP TABLE deletions (late events of deleted ids would be seen again).
CREATE TABLE IF NOT EXISTS deletions {on_cluster}
(
    project_id String,
    deletion_id UUID,
    distinct_id String,
    since DateTime64(6, 'UTC'),
    until DateTime64(6, 'UTC'),
    requested_at DateTime64(6, 'UTC'),
    finished_at DateTime64(6, 'UTC'),
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY (project_id, deletion_id);

CREATE TABLE IF NOT EXISTS deleted_ids {on_cluster}
(
    project_id String,
    distinct_id String,
    deletion_id UUID,
    before DateTime64(6, 'UTC')
)
ENGINE = {replacing_merge_tree}
ORDER BY (project_id, distinct_id, deletion_id);
