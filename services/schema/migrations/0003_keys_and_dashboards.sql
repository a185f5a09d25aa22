-- Project keys (hashed) and dashboards. The row with the highest version counts.
--
-- Roll back: DROP TABLE dashboards; DROP TABLE api_keys (every producer is locked out until keys are made again).
CREATE TABLE IF NOT EXISTS api_keys {on_cluster}
(
    key_hash String,
    project_id String,
    scopes Array(LowCardinality(String)),
    name String,
    created_at DateTime64(6, 'UTC'),
    revoked Bool,
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY key_hash;

CREATE TABLE IF NOT EXISTS dashboards {on_cluster}
(
    project_id String,
    dashboard_id String,
    name String,
    queries String CODEC(ZSTD(1)),
    created_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),
    deleted Bool,
    version UInt64
)
ENGINE = {replacing_merge_tree:version}
ORDER BY (project_id, dashboard_id);
