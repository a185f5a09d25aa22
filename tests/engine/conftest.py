"""The engine that these tests ask."""

from tests.support.engine import clickhouse, clickhouse_server
from tests.support.examples import load_profile

__all__ = ["clickhouse", "clickhouse_server"]

load_profile()
