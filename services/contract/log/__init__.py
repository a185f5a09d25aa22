"""What crosses Kafka: topics, envelopes, ids, dead letters."""
