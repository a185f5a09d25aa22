"""The index in step with the table: what is read of it, and what a rebalance leaves of it. See also test_stored_ids.py."""

import struct
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.contract.log.topics import Partitioning
from services.worker.dedupe.ids import ids_from_bytes, ids_from_rows
from services.worker.dedupe.memory import IncompleteReadError, MemoryDedupe
from services.worker.dedupe.port import Membership
from services.worker.dedupe.window import record_time
from tests.fakes.events_table import PARTITIONS, Log, MemoryEventsTable, event_id

WINDOW_S = 7 * 86_400


async def stored(table: MemoryEventsTable, *ids: bytes, age: timedelta = timedelta()) -> None:
    await table.insert_lines("events", (), Log().envelope(ids, age=age).value or b"", None)


async def known(index: MemoryDedupe, *ids: bytes) -> list[bool]:
    answer: list[bool] = (await index.duplicates(ids_from_bytes(b"".join(ids)))).tolist()
    return answer


def test_a_uuid_of_the_table_is_the_id_of_the_log() -> None:
    packed = bytes(range(16))
    uuid = UUID(bytes=packed)
    row = struct.pack("<QQ", uuid.int >> 64, uuid.int & (2**64 - 1))
    of_table, of_log = ids_from_rows(row), ids_from_bytes(packed)
    assert (of_table.high.tolist(), of_table.low.tolist()) == (of_log.high.tolist(), of_log.low.tolist())
    assert len(ids_from_rows(b"")) == 0


async def test_only_the_partitions_that_are_asked_for_are_read() -> None:
    table = MemoryEventsTable()
    await stored(table, event_id(1, 0), event_id(1, 1), event_id(1, 2))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load(dict.fromkeys({0, 2}, time.time()))
    assert await known(index, event_id(1, 0), event_id(1, 1), event_id(1, 2)) == [True, False, True]


async def test_a_partition_is_read_once() -> None:
    table = MemoryEventsTable()
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load(dict.fromkeys({0}, time.time()))
    await stored(table, event_id(1))
    await index.load(dict.fromkeys({0}, time.time()))
    assert await known(index, event_id(1)) == [False]
    table.unreadable = 1
    await index.load(dict.fromkeys({0}, time.time()))
    assert table.unreadable == 1


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(minutes=-30), True),
        (timedelta(), True),
        (timedelta(days=3), True),
        (timedelta(days=6, hours=23, minutes=59), True),
        (timedelta(days=9), False),
    ],
    ids=str,
)
async def test_what_is_in_the_window_is_read(age: timedelta, expected: bool) -> None:
    table = MemoryEventsTable()
    await stored(table, event_id(1), age=age)
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load(dict.fromkeys({0}, time.time()))
    assert await known(index, event_id(1)) == [expected]


async def test_the_window_of_a_backlog_begins_where_its_oldest_record_was_written() -> None:
    """A worker that was away for two days must know what was stored in the window of what it reads first."""
    table = MemoryEventsTable()
    for n, age in enumerate((timedelta(days=8), timedelta(days=10))):
        await stored(table, event_id(n), age=age)
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    for _ in range(2):
        await index.load({0: time.time() - 2 * 86_400})
        assert await known(index, event_id(0), event_id(1)) == [True, False]


async def test_a_backlog_that_is_older_than_the_window_has_its_own_window() -> None:
    """A repeat nine minutes after its first, in a log that was not read for ten days; the worker starts in between."""
    table = MemoryEventsTable()
    await stored(table, event_id(1), age=timedelta(days=10, minutes=9))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load({0: time.time() - 10 * 86_400})
    assert await known(index, event_id(1)) == [True]


async def test_a_partition_without_a_backlog_leaves_the_ids_to_those_that_have_one() -> None:
    table = MemoryEventsTable()
    await stored(table, event_id(1, 0), age=timedelta(days=12))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    backlog = time.time() - 10 * 86_400
    await index.load({0: backlog})
    await index.load({1: time.time()})
    await index.load({0: backlog, 1: time.time()})
    assert await known(index, event_id(1, 0)) == [True]
    await index.load({0: time.time()})
    await index.load({1: time.time()})
    assert len(index.index) == 0


async def test_reading_that_goes_on_farther_back_needs_the_ids_of_that_time() -> None:
    table = MemoryEventsTable()
    await stored(table, event_id(1), event_id(2, 1), age=timedelta(days=10))
    await stored(table, event_id(3))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load({0: time.time(), 1: time.time()})
    assert await known(index, event_id(1), event_id(2, 1), event_id(3)) == [False, False, True]
    await index.load({0: time.time() - 9 * 86_400})
    assert await known(index, event_id(1), event_id(2, 1), event_id(3)) == [True, False, True]
    assert len(index.index) == 2


@pytest.mark.parametrize(
    ("days_ago", "of_broker", "expected"),
    [
        (0.5, False, 0.5),
        (20, False, 0),
        (20, True, 20),
        (13, False, 13),
        (-2, False, 0),
        (-2, True, 0),
        (20_000, False, 0),
    ],
)
def test_nonsense_counts_as_now_and_the_brokers_time_counts(days_ago: float, of_broker: bool, expected: float) -> None:
    now = time.time()
    at = record_time(now - days_ago * 86_400, of_broker=of_broker, oldest_s=now - 14 * 86_400)
    assert abs(now - expected * 86_400 - at) < 5


async def test_what_an_edge_has_stamped_whose_clock_is_an_hour_off_is_known() -> None:
    table = MemoryEventsTable()
    await stored(table, event_id(1), age=timedelta(minutes=-59))
    await stored(table, event_id(2), age=timedelta(days=7, minutes=59))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load({0: time.time()})
    assert await known(index, event_id(1), event_id(2)) == [True, True]


async def test_a_failed_reading_leaves_nothing_half_known() -> None:
    table = MemoryEventsTable()
    await stored(table, event_id(1))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    for _ in range(2):
        table.unreadable = 1
        with pytest.raises(Exception, match="refused"):
            await index.load(dict.fromkeys({0}, time.time()))
        assert len(index.index) == 0
    await index.load(dict.fromkeys({0}, time.time()))
    assert await known(index, event_id(1)) == [True]


async def loaded(table: MemoryEventsTable) -> MemoryDedupe:
    """Owns the partitions 0 and 1 in generation 1 and knows 50 ids of each."""
    await stored(table, *[event_id(n, n % 2) for n in range(100)])
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    index.assigned({0, 1}, Membership("me", 1))
    await index.load(dict.fromkeys({0, 1}, time.time()))
    assert len(index.index) == 100
    return index


async def test_a_partition_that_went_gives_its_memory_back_and_is_read_again_when_it_returns() -> None:
    table = MemoryEventsTable()
    index = await loaded(table)
    index.revoked({0, 1})
    index.assigned({1}, Membership("me", 2))
    assert (len(index.index), index.index.size_bytes) == (50, 800)
    await stored(table, event_id(500))
    index.revoked({1})
    index.assigned({0, 1}, Membership("me", 3))
    await index.load(dict.fromkeys({0, 1}, time.time()))
    assert await known(index, event_id(500), event_id(0), event_id(1, 1)) == [True, True, True]
    assert len(index.index) == 101


async def test_after_two_revocations_in_a_row_everything_is_read_again() -> None:
    table = MemoryEventsTable()
    index = await loaded(table)
    index.revoked({0, 1})
    index.revoked(set())
    await stored(table, event_id(500))
    index.assigned({0, 1}, Membership("me", 3))
    await index.load(dict.fromkeys({0, 1}, time.time()))
    assert await known(index, event_id(500), event_id(0)) == [True, True]


async def test_a_late_block_does_not_make_a_lost_partition_look_known() -> None:
    """A block that was being stored while its partition went is still stored, and needs the ids for that."""
    table = MemoryEventsTable()
    index = await loaded(table)
    index.revoked({0, 1})
    await index.load(dict.fromkeys({0}, time.time()))
    index.assigned({1}, Membership("me", 2))
    assert len(index.index) == 50
    await stored(table, event_id(500))
    index.revoked({1})
    index.assigned({0, 1}, Membership("me", 3))
    await index.load(dict.fromkeys({0, 1}, time.time()))
    assert await known(index, event_id(500), event_id(0), event_id(1, 1)) == [True, True, True]


class ShortAnswers(MemoryEventsTable):
    """Gives `missing` ids fewer than there are, as under a profile with result_overflow_mode = 'break'."""

    missing = 1

    async def raw(self, *arguments: Any, **options: Any) -> bytes:
        rows = await super().raw(*arguments, **options)
        return rows[: max(0, len(rows) - 16 * self.missing)]


async def test_an_answer_that_is_not_whole_is_not_used() -> None:
    table = ShortAnswers()
    await stored(table, event_id(1), event_id(2))
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    with pytest.raises(IncompleteReadError, match="1 ids of 2"):
        await index.load({0: time.time()})
    assert len(index.index) == 0
    table.missing = 0
    await index.load({0: time.time()})
    assert await known(index, event_id(1), event_id(2)) == [True, True]


class RepeatedRows(MemoryEventsTable):
    """Has each row twice, until they collapse."""

    async def raw(self, *arguments: Any, **options: Any) -> bytes:
        return 2 * await super().raw(*arguments, **options)


async def test_rows_that_are_there_twice_are_one_id() -> None:
    table = RepeatedRows()
    await stored(table, *[event_id(n) for n in range(10)])
    index = MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
    await index.load({0: time.time()})
    assert len(index.index) == 10
