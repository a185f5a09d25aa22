-- Ids as numbers: questions group, join and look up people by 64 bits instead of by text.
--
-- Rows that were stored before have no such column on disk: it is worked out when they are read, until a merge
-- writes it. To write it at once: ALTER TABLE events MATERIALIZE COLUMN distinct_hash, and so for the other tables.
-- Roll back: ALTER TABLE ... DROP COLUMN for each column (loses nothing; needs the version of Headrace before).
ALTER TABLE events {on_cluster} ADD COLUMN IF NOT EXISTS distinct_hash UInt64 MATERIALIZED sipHash64(project_id, distinct_id);
ALTER TABLE identity_log {on_cluster} ADD COLUMN IF NOT EXISTS distinct_hash UInt64 MATERIALIZED sipHash64(project_id, distinct_id);
ALTER TABLE deleted_ids {on_cluster} ADD COLUMN IF NOT EXISTS distinct_hash UInt64 MATERIALIZED sipHash64(project_id, distinct_id);
ALTER TABLE person_ids {on_cluster} ADD COLUMN IF NOT EXISTS distinct_hash UInt64 MATERIALIZED sipHash64(project_id, distinct_id);
ALTER TABLE person_ids {on_cluster} ADD COLUMN IF NOT EXISTS person_hash UInt64 MATERIALIZED sipHash64(project_id, person_id);
