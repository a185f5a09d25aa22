"""In this folder the engine is two of them, a shard each."""

from collections.abc import Iterator

import pytest

from tests.support.engine import Server, sharded_server


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sharded_server(tmp_path_factory.mktemp("shards"), 2) as server:
        yield server
