"""The worker: Kafka records in, each event once into ClickHouse. Read app, buffer, dedupe, clickhouse_sink."""
