-- How ids are spread over the partitions of the events topic: id -> bucket -> partition. The latest row counts.
--
-- Why so: the number of a topic's partitions can change under running services; what they agree on must not. The first
-- service that starts writes the row (runtime/partitioning.py).
-- Roll back: DROP TABLE partitioning, with all services stopped and the log read to its end.
CREATE TABLE IF NOT EXISTS partitioning {on_cluster}
(
    buckets UInt32,
    partitions UInt16,
    at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {replacing_merge_tree}
ORDER BY at;
