-- Deletions have an order with merges, and keep their own progress.
--
-- deletions.settled_at: when a worker met the deletion in the log, and noted which ids are the person's (1970: not yet).
-- person_version: rows of person_ids below it are of before. deleted_ids.settled: noted by the worker; others only hide.
-- taken_ids: ids of a deleted person's events and calls: their keys stay taken. Kept for a year, which is the longest dedupe
-- window. deletion_queues: which query service works off a project's deletions, and until when. deletion_sweeps: up to
-- which time of receipt late rows of deleted people were looked for.
-- Roll back: DROP TABLE deletion_sweeps; DROP TABLE deletion_queues; DROP TABLE taken_ids (deleted people's events can come
-- back under the same keys); ALTER TABLE deletions DROP COLUMN settled_at, DROP COLUMN person_version; ALTER TABLE
-- deleted_ids DROP COLUMN settled.
ALTER TABLE deletions {on_cluster} ADD COLUMN IF NOT EXISTS settled_at DateTime64(6, 'UTC');
ALTER TABLE deletions {on_cluster} ADD COLUMN IF NOT EXISTS person_version UInt64;
ALTER TABLE deleted_ids {on_cluster} ADD COLUMN IF NOT EXISTS settled Bool DEFAULT true;

CREATE TABLE IF NOT EXISTS taken_ids {on_cluster}
(
    event_id UUID,
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {replacing_merge_tree}
PARTITION BY toYYYYMM(received_at)
ORDER BY event_id
TTL toDateTime(received_at) + INTERVAL 366 DAY;

CREATE TABLE IF NOT EXISTS deletion_queues {on_cluster}
(
    project_id String,
    owner String,
    until DateTime64(6, 'UTC'),
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY project_id;

CREATE TABLE IF NOT EXISTS deletion_sweeps {on_cluster}
(
    swept_until DateTime64(6, 'UTC')
)
ENGINE = {replacing_merge_tree}
ORDER BY swept_until;
