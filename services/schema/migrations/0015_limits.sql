-- Limits of projects, what edges have counted, and what of a project's events has expired.
--
-- project_limits: what was set for a project; NULL: the services' own setting counts, 0: no limit. The row with the highest
-- version counts.
-- usage: events and bytes that a process of the edge has accepted of a project on a day (UTC) of receipt; the last word of
-- a process counts. Kept for two years and some weeks.
-- expired: events with an earlier timestamp than `kept_since` are in no answer. It only grows: what has expired once stays
-- away, whatever is set later. rewritten_to: earlier ones of the project were deleted from the disk, by a mutation.
-- Roll back: DROP TABLE expired; DROP TABLE usage; DROP TABLE project_limits (expired events that are still on disk are
-- seen again).
CREATE TABLE IF NOT EXISTS project_limits {on_cluster}
(
    project_id String,
    events_day Nullable(UInt64),
    retention_days Nullable(UInt32),
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY project_id;

CREATE TABLE IF NOT EXISTS usage {on_cluster}
(
    day Date,
    project_id String,
    edge String,
    events UInt64,
    bytes UInt64,
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
PARTITION BY toYYYYMM(day)
ORDER BY (day, project_id, edge)
TTL day + INTERVAL 800 DAY;

CREATE TABLE IF NOT EXISTS expired {on_cluster}
(
    project_id String,
    kept_since DateTime64(6, 'UTC'),
    rewritten_to DateTime64(6, 'UTC'),
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY project_id;
