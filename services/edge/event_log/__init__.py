"""Appending to the event log: the port, and Kafka behind it."""
