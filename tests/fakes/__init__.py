"""Twins in memory of what tests do without: tables, keys, the event log."""
