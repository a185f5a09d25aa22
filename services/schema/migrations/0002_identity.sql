-- Who is who: the log of identify, alias and group, and the small table of merged ids derived from it.
--
-- identity_log is the truth and only grows; a merge row has old_id. person_ids holds only ids that were merged: the
-- row with the highest version counts. version is the number of merges that the set of ids is made of, so that
-- whoever knows more wins, in whatever order rows arrive.
-- Roll back: DROP TABLE person_ids; DROP TABLE identity_log (loses traits, merges and groups).
CREATE TABLE IF NOT EXISTS identity_log {on_cluster}
(
    project_id LowCardinality(String),
    event_id UUID,
    kind LowCardinality(String),
    distinct_id String,
    timestamp DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    old_id String,
    user_id String,
    group_type LowCardinality(String),
    group_key String,
    traits String CODEC(ZSTD(1)),
    idempotency_key String
)
ENGINE = {replacing_merge_tree}
ORDER BY (project_id, kind, distinct_id, event_id)
SETTINGS {deduplication_window} = 10000;

CREATE TABLE IF NOT EXISTS person_ids {on_cluster}
(
    project_id LowCardinality(String),
    distinct_id String,
    person_id String,
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY (project_id, distinct_id)
SETTINGS index_granularity = 512;
