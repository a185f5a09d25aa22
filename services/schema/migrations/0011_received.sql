-- Rows by when they were received: workers read the ids of the dedupe window, and skip what holds no row of it.
--
-- A few bytes for each 8192 rows. Parts of before get theirs in the background.
-- Roll back: ALTER TABLE events DROP INDEX received (loses nothing; workers read all of history again).
ALTER TABLE events {on_cluster} ADD INDEX IF NOT EXISTS received received_at TYPE minmax GRANULARITY 1;
ALTER TABLE events {on_cluster} MATERIALIZE INDEX received;
