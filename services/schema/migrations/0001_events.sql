-- The events table: one row an accepted event.
--
-- Why so: ReplacingMergeTree with the event id at the end of the sorting key, so that a block that was inserted twice
-- collapses; FINAL keeps it out of answers until then. Months as partitions (times are limited to 2000..now by the
-- edge, so that stray years cannot make partitions). deduplication_window: a repeated insert of the same block under
-- the same token is dropped. Properties are kept as the JSON text that came.
-- Roll back: DROP TABLE events (loses all events).
CREATE TABLE IF NOT EXISTS events {on_cluster}
(
    project_id LowCardinality(String),
    event_id UUID,
    event LowCardinality(String),
    distinct_id String,
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    properties String CODEC(ZSTD(1)),
    idempotency_key String CODEC(ZSTD(1)),
    original_timestamp String
)
ENGINE = {replacing_merge_tree}
PARTITION BY toYYYYMM(timestamp)
PRIMARY KEY (project_id, toDate(timestamp), event)
ORDER BY (project_id, toDate(timestamp), event, distinct_id, timestamp, event_id)
SETTINGS {deduplication_window} = 10000;
