-- Links: an identify with a user_id is a row of kind `link`, and counts or not by what was said before it. Rows of kind
-- `identify` from before never link; `headrace identity link-history` makes links of them.
--
-- set_once: traits that are set where there is none. old_hash finds the links of an id by a number. Versions in person_ids
-- count from here on: milliseconds since 2020 at which a set was last computed as a whole, times 2^24, plus what has
-- joined since; those of before are smaller.
-- The constraint keeps workers of the version before, which know no set_once, from taking links for merges: they wait
-- until they are replaced.
-- groups: what an event itself says of its groups. Few events do, so queries about groups need not read the properties of
-- all. A JSON name may be written with escapes. Rows that were stored before have no such column on disk: it is worked
-- out when they are read, until a merge writes it. To write it at once: ALTER TABLE events MATERIALIZE COLUMN groups.
-- Roll back: ALTER TABLE identity_log DROP CONSTRAINT links_need_their_worker, DROP COLUMN set_once, DROP COLUMN
-- old_hash; ALTER TABLE events DROP COLUMN groups (loses what was set once; the version before takes links for merges).
ALTER TABLE identity_log {on_cluster} ADD COLUMN IF NOT EXISTS set_once String CODEC(ZSTD(1));
ALTER TABLE identity_log {on_cluster} ADD COLUMN IF NOT EXISTS old_hash UInt64 MATERIALIZED sipHash64(project_id, old_id);
ALTER TABLE identity_log {on_cluster}
    ADD CONSTRAINT IF NOT EXISTS links_need_their_worker CHECK kind != 'link' OR set_once != '';
ALTER TABLE events {on_cluster} ADD COLUMN IF NOT EXISTS groups String MATERIALIZED if(
    multiSearchAny(properties, ['$groups', '\\u0024', '\\u0067', '\\u0072', '\\u006f', '\\u006F', '\\u0075', '\\u0070', '\\u0073']),
    JSONExtractRaw(properties, '$groups'), ''
) CODEC(ZSTD(1));
