"""Tables that were made before there was a cluster, or shards: taken over, or refused. What moves rows runs on real engines
(tests/engine/test_cluster.py)."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.layout import LayoutError, adopt_tables

SETTINGS = ClickHouseSettings(clickhouse_cluster="shop")
PLAIN, REPLICATED = "ReplacingMergeTree", "ReplicatedReplacingMergeTree"


class Tables(ClickHouse):
    """Has tables of these engines, on so many shards; remembers what it is told."""

    def __init__(self, engines: dict[str, str], shards: int) -> None:
        super().__init__(SETTINGS)
        self._engines, self._shards = engines, shards
        self.told: list[str] = []

    async def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[Sequence[Any]]:
        if "max(shard_num)" in sql:
            return [(self._shards,)]
        return [list(row) for row in sorted(self._engines.items())]

    async def command(self, sql: str, parameters: Any = None, settings: Any = None) -> None:
        self.told.append(sql)


async def test_nothing_is_there() -> None:
    store = Tables({"schema_lock": REPLICATED}, shards=2)
    await adopt_tables(store, SETTINGS)
    assert store.told == []


async def test_one_shard_of_a_version_before_keeps_its_rows() -> None:
    store = Tables({"events": REPLICATED, "person_ids": REPLICATED}, shards=1)
    await adopt_tables(store, SETTINGS)
    assert store.told == ["RENAME TABLE headrace.events TO headrace.events_local ON CLUSTER 'shop'"]


async def test_several_shards_of_a_version_before_are_refused() -> None:
    store = Tables({"events": REPLICATED, "person_ids": REPLICATED}, shards=2)
    with pytest.raises(LayoutError, match=r"each shard has merges, keys and dashboards of its own.*docs/how-to"):
        await adopt_tables(store, SETTINGS)
    assert store.told == []


async def test_a_cluster_of_now_is_left_alone() -> None:
    store = Tables({"events": "Distributed", "events_local": REPLICATED, "person_ids": REPLICATED}, shards=2)
    await adopt_tables(store, SETTINGS)
    assert store.told == []


async def test_tables_of_one_server_are_put_aside_the_events_last() -> None:
    """By `events` it is seen that a migration that was killed has not put all aside."""
    store = Tables({"events": PLAIN, "person_ids": PLAIN, "schema_lock": REPLICATED, "old_moved": PLAIN}, shards=2)
    await adopt_tables(store, SETTINGS)
    assert store.told == [
        "RENAME TABLE headrace.person_ids TO headrace.person_ids_moving",
        "RENAME TABLE headrace.events TO headrace.events_moving",
    ]
