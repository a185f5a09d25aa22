"""Mechanism that the services share: settings, ClickHouse, Kafka, keys, HTTP, metrics, logs, clock."""
