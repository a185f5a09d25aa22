-- A dashboard is created once an idempotency key: inserts of the same dashboard carry one token, and ClickHouse drops
-- all but the first, however close together they come.
--
-- Roll back: ALTER TABLE dashboards MODIFY SETTING {deduplication_window} = 0 (keeps all dashboards).
ALTER TABLE dashboards {on_cluster} MODIFY SETTING {deduplication_window} = 1000;
