"""Fixtures of all tests."""

from tests.support.engine import clickhouse, clickhouse_url

__all__ = ["clickhouse", "clickhouse_url"]
