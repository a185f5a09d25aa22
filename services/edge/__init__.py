"""The ingest edge: HTTP in, acknowledged Kafka records out. Read app, routes, body, intake, event_log, kafka_log."""
