"""The worker: Kafka records in, each event once into ClickHouse. Read app, batcher, dedupe, clickhouse_sink."""
