-- The catalog: how many events of which name there were on each day, by how many people. The query service builds a day
-- again when its rows have changed; the last build counts.
--
-- The row without an event name stands for the whole day: `rows` and `checksum` are those of its rows when it was built, so
-- that a day which has changed since is found by comparing. Rows of events that a later build did not find are left where
-- they are: they have another `built` than their day. Nothing in it is about a person: `people` counts hashes.
-- catalog_totals: the same over all days, so that nobody waits for sketches to be merged. Rows of a project's last build
-- count; the row without an event name says when that was.
-- Roll back: DROP TABLE catalog_totals; DROP TABLE catalog (loses nothing: they are made of the events).
CREATE TABLE IF NOT EXISTS catalog {on_cluster}
(
    project_id String,
    event String,
    day Date,
    built UInt64,
    rows UInt64,
    checksum UInt64,
    events UInt64,
    people AggregateFunction(uniqCombined(12), UInt64),
    first_seen DateTime64(6, 'UTC'),
    last_seen DateTime64(6, 'UTC')
)
ENGINE = {replacing_merge_tree:built}
ORDER BY (project_id, event, day);

CREATE TABLE IF NOT EXISTS catalog_totals {on_cluster}
(
    project_id String,
    event String,
    built UInt64,
    events UInt64,
    people UInt64,
    first_seen DateTime64(6, 'UTC'),
    last_seen DateTime64(6, 'UTC')
)
ENGINE = {replacing_merge_tree:built}
ORDER BY (project_id, event);
