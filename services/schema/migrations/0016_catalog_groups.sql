-- The catalog's groups: how many there are of which type. Built again when calls came in or went; the last build counts.
--
-- A type that has no group any more has 0.
-- Roll back: DROP TABLE catalog_groups (loses nothing: it is made of the identity log).
CREATE TABLE IF NOT EXISTS catalog_groups {on_cluster}
(
    project_id String,
    group_type String,
    built UInt64,
    groups UInt64
)
ENGINE = {replacing_merge_tree:built}
ORDER BY (project_id, group_type);
