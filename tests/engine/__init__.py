"""Tests on a real ClickHouse: every query against its oracle, the API, the schema."""
