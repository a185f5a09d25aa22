"""Whether ids must be read again from ClickHouse after a rebalance: only when somebody else may have had the partition."""

import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.contract.log.topics import Partitioning
from services.worker.dedupe.ids import Ids
from services.worker.dedupe.memory import BYTES_PER_ID, MemoryDedupe, WindowTooLargeError
from services.worker.dedupe.port import Membership

PARTITIONS = 4


class MemoryIds:
    """The ids that ClickHouse has, by partition; counts how often they are read."""

    cluster = ""

    def __init__(self) -> None:
        self.ids = {partition: (partition << 48, 7) for partition in range(PARTITIONS)}
        self.read: list[int] = []

    async def rows(self, sql: str, parameters: Mapping[str, Any], settings: Any = None) -> list[list[int]]:
        return [[len(parameters["wanted"])]]

    async def raw(self, sql: str, parameters: Mapping[str, Any], settings: Any = None, fmt: str = "") -> bytes:
        if not self.read or parameters["wanted"] != self.read[-len(parameters["wanted"]) :]:
            self.read += parameters["wanted"]
            return b"".join(struct.pack("<QQ", *self.ids[partition]) for partition in parameters["wanted"])
        return b""  # the other slices of the window


@pytest.fixture
def store() -> MemoryIds:
    return MemoryIds()


def dedupe(store: MemoryIds, **options: int) -> MemoryDedupe:
    return MemoryDedupe(store, 3600, Partitioning(PARTITIONS), **options)  # type: ignore[arg-type]


def ids_of(store: MemoryIds, *partitions: int) -> Ids:
    columns = np.array([store.ids[partition] for partition in partitions], dtype=np.uint64)
    return Ids(columns[:, 0], columns[:, 1])


async def test_a_partition_that_stays_is_not_read_again(store: MemoryIds) -> None:
    known = dedupe(store)
    known.assigned({0, 1}, Membership("me", 3))
    await known.load(dict.fromkeys({0, 1}, time.time()))
    known.revoked({0, 1})
    known.assigned({0, 2}, Membership("me", 4))
    await known.load(dict.fromkeys({0, 2}, time.time()))
    assert store.read == [0, 1, 2]
    assert (await known.duplicates(ids_of(store, 0, 1, 2))).tolist() == [True, False, True]


async def test_after_a_generation_without_us_everything_is_read_again(store: MemoryIds) -> None:
    known = dedupe(store)
    known.assigned({0}, Membership("me", 3))
    await known.load(dict.fromkeys({0}, time.time()))
    known.revoked({0})
    known.assigned({0}, Membership("me", 5))
    store.ids[0] = (0, 8)  # what another worker stored meanwhile
    assert len(known.index) == 0
    store.read.clear()
    await known.load(dict.fromkeys({0}, time.time()))
    assert store.read == [0]
    assert (await known.duplicates(ids_of(store, 0))).tolist() == [True]


async def test_another_member_reads_everything_again_whatever_its_generation(store: MemoryIds) -> None:
    """Generations count from 1 again when the group was deleted: the next number may be one of another time."""
    known = dedupe(store)
    known.assigned({0}, Membership("me", 2))
    await known.load(dict.fromkeys({0}, time.time()))
    known.revoked({0})
    store.ids[0] = (0, 8)  # what another worker stored meanwhile
    store.read.clear()
    known.assigned({0}, Membership("me again", 3))
    await known.load(dict.fromkeys({0}, time.time()))
    assert store.read == [0]
    assert (await known.duplicates(ids_of(store, 0))).tolist() == [True]


@pytest.mark.parametrize("member", ["", "me"])
async def test_whoever_is_no_member_keeps_nothing(store: MemoryIds, member: str) -> None:
    known = dedupe(store)
    known.assigned({0}, Membership(member, 2))
    await known.load(dict.fromkeys({0}, time.time()))
    known.revoked({0})
    known.assigned({0}, Membership("", 3))
    assert len(known.index) == 0


async def test_a_partition_that_comes_back_later_is_read_again(store: MemoryIds) -> None:
    known = dedupe(store)
    for generation, mine in ((1, {0, 1}), (2, {1}), (3, {0, 1})):
        known.assigned(mine, Membership("me", generation))
        await known.load(dict.fromkeys(mine, time.time()))
        known.revoked(mine)
    assert store.read == [0, 1, 0]


async def test_it_says_so_before_it_loads_more_than_fits(store: MemoryIds) -> None:
    known = dedupe(store, max_bytes=2 * BYTES_PER_ID)
    await known.load(dict.fromkeys({0, 1}, time.time()))
    with pytest.raises(WindowTooLargeError, match="HEADRACE_WORKER_DEDUPE_WINDOW_HOURS"):
        await known.load(dict.fromkeys({2}, time.time()))
    with pytest.raises(WindowTooLargeError, match="3, but only 2"):
        known.remember(Ids(np.array([9], dtype=np.uint64), np.array([9], dtype=np.uint64)))


async def test_the_metric_says_how_full_the_index_is(store: MemoryIds) -> None:
    known = dedupe(store, max_bytes=8 * BYTES_PER_ID)
    assert REGISTRY.get_sample_value("headrace_worker_index_fill_ratio") == 0
    known.assigned({0, 1}, Membership("me", 3))
    await known.load(dict.fromkeys({0, 1}, time.time()))
    assert REGISTRY.get_sample_value("headrace_worker_index_fill_ratio") == 0.25
