"""All services agree on the partitions that are used, whatever becomes of the topic under them."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.contract.log.topics import BUCKETS, NO_BUCKETS, Partitioning
from services.runtime.clickhouse import ClickHouse
from services.runtime.partitioning import PartitioningError, agreed_partitioning
from services.runtime.settings import ClickHouseSettings


class MemoryPartitioning(ClickHouse):
    """The table in memory: (buckets, partitions), the latest last."""

    def __init__(self, *rows: tuple[int, int]) -> None:
        super().__init__(ClickHouseSettings())
        self.kept = list(rows)

    async def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[Sequence[Any]]:
        return [self.kept[-1][::-1]] if self.kept else []

    async def command(self, sql: str, parameters: Any = None, settings: Any = None) -> None:
        self.kept.append((parameters["buckets"], parameters["partitions"]))


async def test_a_worker_writes_down_the_number_that_nobody_knew() -> None:
    store = MemoryPartitioning((BUCKETS, 0))
    assert await agreed_partitioning(store, "t", 12) == Partitioning(12, BUCKETS)
    assert store.kept == [(BUCKETS, 0)]
    assert await agreed_partitioning(store, "t", 12, write=True) == Partitioning(12, BUCKETS)
    assert store.kept[1:] == [(BUCKETS, 12)]
    await agreed_partitioning(store, "t", 12, write=True)
    assert len(store.kept) == 2


async def test_a_topic_that_has_grown_is_used_as_before() -> None:
    store = MemoryPartitioning((NO_BUCKETS, 8))
    assert await agreed_partitioning(store, "t", 12) == Partitioning(8, NO_BUCKETS)
    assert store.kept == [(NO_BUCKETS, 8)]


async def test_a_topic_with_fewer_partitions_is_refused_with_what_to_do() -> None:
    with pytest.raises(PartitioningError, match="headrace partitions use 4"):
        await agreed_partitioning(MemoryPartitioning((BUCKETS, 8)), "t", 4)


async def test_without_the_table_s_row_the_tables_are_to_be_brought_up_to_date() -> None:
    with pytest.raises(PartitioningError, match="headrace migrate"):
        await agreed_partitioning(MemoryPartitioning(), "t", 4)
