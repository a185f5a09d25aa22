-- Saved cohorts: rules and lists of ids under a name. The row with the highest version counts.
--
-- A list's ids lie under an id of their own, so that a name leads to the old list or to the new one, whole, at any moment.
-- Ids of lists that no name leads to are deleted by the query service.
-- Roll back: DROP TABLE cohort_ids; DROP TABLE cohorts (loses the saved cohorts).
CREATE TABLE IF NOT EXISTS cohorts {on_cluster}
(
    project_id String,
    name String,
    rule String CODEC(ZSTD(1)),
    list_id String,
    ids UInt64,
    updated_at DateTime64(6, 'UTC'),
    deleted Bool,
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY (project_id, name);

CREATE TABLE IF NOT EXISTS cohort_ids {on_cluster}
(
    project_id String,
    list_id String,
    distinct_id String,
    added_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {replacing_merge_tree}
ORDER BY (project_id, list_id, distinct_id)
SETTINGS {deduplication_window} = 1000;
