-- Fewer and wider merges of events. Blocks come once or twice a second; with ClickHouse's own 5 each row was merged so
-- often that merging cost as much as inserting. Questions meet up to twice as many parts for that.
-- Roll back: ALTER TABLE events RESET SETTING merge_selector_base (loses nothing).
ALTER TABLE events {on_cluster} MODIFY SETTING merge_selector_base = 12;
