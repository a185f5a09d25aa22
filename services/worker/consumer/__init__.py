"""Faust and Kafka: what is read, what is committed, how far behind."""
