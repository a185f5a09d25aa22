"""Storing a block: whatever the store and the log do, each event is stored once, and each bad line is a dead letter."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import KafkaTimeoutError
from prometheus_client import REGISTRY

from services.contract.log.dead_letter import DeadLetter, payload_text
from services.contract.log.envelope import Envelope, pack
from services.contract.log.marks import MARK_IDS_CHANGED, MARK_PLACE
from services.contract.log.topics import Partitioning
from services.runtime.clickhouse import BadDataError, LimitExceededError, StoreError, StoreUnavailableError
from services.worker.dead_letters import PoisonFloodError, PoisonGate
from services.worker.dedupe.clickhouse import ClickHouseDedupe
from services.worker.dedupe.memory import MemoryDedupe
from services.worker.dedupe.port import Dedupe, Membership
from services.worker.events.bad_lines import fault_of, lines_of, unpack_foreign
from services.worker.events.writer import EventWriter, MisplacedIdsError, _without
from services.worker.record import Record
from services.worker.until_stored import until_stored
from tests.fakes.events_table import PARTITIONS, REFUSED_EVENT, Log, MemoryEventsTable, event_id, line_of

WINDOW_S = 7 * 86_400


class AskedTable(MemoryEventsTable):
    """A table that is asked about each block, instead of once for an index in memory."""


class Worker:
    """A sink over a table that outlives it: make another one on the same table for a worker that was restarted."""

    def __init__(self, table: MemoryEventsTable, max_ratio: float = 0.5) -> None:
        self.letters: list[DeadLetter] = []
        self.letters_refused = 0
        self.known_ids: Dedupe = (
            ClickHouseDedupe(table, WINDOW_S)
            if isinstance(table, AskedTable)
            else MemoryDedupe(table, WINDOW_S, Partitioning(PARTITIONS))
        )
        self.sink = EventWriter(table, self.known_ids, self._put, PoisonGate(max_ratio), Partitioning(PARTITIONS))

    async def _put(self, letters: Sequence[DeadLetter]) -> None:
        if self.letters_refused:
            self.letters_refused -= 1
            raise KafkaTimeoutError
        self.letters += letters

    async def store(self, *records: Record) -> None:
        await self.sink.store(list(records))

    @property
    def places(self) -> list[tuple[int | None, int | None, int | None]]:
        return [(letter.origin.partition, letter.origin.offset, letter.origin.line) for letter in self.letters]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.worker.until_stored._RETRY_FIRST_S", 0.0)


@pytest.fixture(params=[MemoryEventsTable, AskedTable], ids=["index", "asked"])
def table(request: pytest.FixtureRequest) -> MemoryEventsTable:
    made: MemoryEventsTable = request.param()
    return made


@pytest.fixture
def log() -> Log:
    return Log()


def hexes(*numbers: int) -> list[str]:
    return [event_id(n).hex() for n in numbers]


# Duplicates.


async def test_each_event_is_stored_once_in_the_order_of_the_log(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table)
    ids = [event_id(n) for n in range(6)]
    await worker.store(log.envelope(ids[:2]), log.envelope([ids[1], ids[2], ids[1]]), log.envelope(ids[:3]))
    assert table.ids == hexes(0, 1, 2)
    await worker.store(log.envelope(ids[2:4]), log.envelope(ids[4:]))
    assert table.ids == hexes(0, 1, 2, 3, 4, 5)
    assert worker.letters == []


async def test_of_equal_ids_the_first_event_is_the_one_that_is_stored(table: MemoryEventsTable, log: Log) -> None:
    await Worker(table).store(log.envelope([event_id(1)], "first"), log.envelope([event_id(1)], "second"))
    assert [line["event"] for line in table.lines] == ["first"]


async def test_a_block_of_repeats_only_is_not_inserted(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table)
    await worker.store(log.envelope([event_id(1)]))
    await worker.store(log.envelope([event_id(1)]), log.envelope([event_id(1)] * 3))
    assert (table.inserts, table.ids) == (1, hexes(1))


async def test_a_block_without_a_repeat_is_passed_on_unread(table: MemoryEventsTable, log: Log) -> None:
    records = [log.envelope([event_id(n)]) for n in range(3)]
    inserted: list[Sequence[bytes]] = []
    insert = table.insert_lines

    async def remember(name: str, columns: Sequence[str], lines: Sequence[bytes], *rest: Any) -> None:
        inserted.append(lines)
        await insert(name, columns, lines, *rest)

    table.insert_lines = remember  # type: ignore[method-assign, assignment]
    await Worker(table).store(*records)
    assert inserted == [[record.value for record in records]]


# A store that refuses, is away, or does not say.


@pytest.mark.parametrize("times", [1, 5])
async def test_while_the_store_is_away_the_block_waits(table: MemoryEventsTable, log: Log, times: int) -> None:
    table.unavailable = times
    await Worker(table).store(log.envelope([event_id(1), event_id(2)]))
    assert (table.inserts, table.ids) == (times + 1, hexes(1, 2))


@pytest.mark.parametrize("times", [1, 5])
async def test_an_insert_without_an_answer_is_repeated_and_not_dropped_as_a_repeat(
    table: MemoryEventsTable, log: Log, times: int
) -> None:
    table.ambiguous = times
    await Worker(table).store(log.envelope([event_id(1), event_id(2)]))
    assert (table.inserts, table.ids) == (times + 1, hexes(1, 2))
    assert len(table.tokens) == times + 1


async def test_nothing_is_stored_before_the_stored_ids_are_known(table: MemoryEventsTable, log: Log) -> None:
    await Worker(table).store(log.envelope([event_id(1)]))
    table.unreadable = 3
    await Worker(table).store(log.envelope([event_id(1), event_id(2)]))
    assert (table.unreadable, table.ids) == (0, hexes(1, 2))


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("away"), LimitExceededError("memory", 241), StoreError("no table", 60)], ids=repr
)
async def test_whatever_the_store_says_short_of_bad_data_is_tried_again(error: StoreError) -> None:
    attempts = 0

    async def attempt() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise error
        return "stored"

    assert await until_stored(attempt) == "stored"
    assert attempts == 4


async def test_waiting_grows_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)

    monkeypatch.setattr("services.worker.until_stored._RETRY_FIRST_S", 0.1)
    monkeypatch.setattr("services.worker.until_stored.asyncio.sleep", sleep)

    async def attempt() -> None:
        if len(waits) < 10:
            raise StoreUnavailableError("away")

    await until_stored(attempt)
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-2:] == [10.0, 10.0]


async def test_bad_data_is_not_tried_again() -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise BadDataError("cannot parse", 27)

    with pytest.raises(BadDataError):
        await until_stored(attempt)
    assert attempts == 1


# Restarts and rebalances.


async def test_what_was_stored_before_a_crash_is_not_stored_again(table: MemoryEventsTable, log: Log) -> None:
    records = [log.envelope([event_id(n), event_id(n + 1)]) for n in range(5)]
    await Worker(table).store(*records[:3])
    restarted = Worker(table)
    await restarted.store(*records)
    assert table.ids == hexes(0, 1, 2, 3, 4, 5)


async def test_events_that_came_anywhere_in_the_window_are_known_after_a_restart(
    table: MemoryEventsTable, log: Log
) -> None:
    ages = [timedelta(), timedelta(hours=1), timedelta(days=6, hours=23), timedelta(minutes=-30)]
    for n, age in enumerate(ages):
        await Worker(table).store(log.envelope([event_id(n)], age=age))
    await Worker(table).store(*[log.envelope([event_id(n)]) for n in range(4)])
    assert table.ids == hexes(0, 1, 2, 3)


async def test_what_another_worker_stored_meanwhile_is_known_when_a_partition_comes_back(
    table: MemoryEventsTable, log: Log
) -> None:
    one, other = Worker(table), Worker(table)
    await one.store(log.envelope([event_id(1)]), log.envelope([event_id(1, partition=1)]))
    one.known_ids.revoked({0, 1})
    one.known_ids.assigned({1}, Membership("me", 1))
    await other.store(log.envelope([event_id(2)]))
    one.known_ids.revoked({1})
    one.known_ids.assigned({0, 1}, Membership("me", 2))
    await one.store(log.envelope([event_id(1), event_id(2), event_id(3)]), log.envelope([event_id(1, partition=1)]))
    assert table.ids == [*hexes(1), event_id(1, partition=1).hex(), *hexes(2, 3)]


# Bad lines.


def with_lines(log: Log, *lines: bytes, first: int = 0) -> Record:
    """A record of these lines whose header has as many ids."""
    ids = b"".join(event_id(first + n) for n in range(len(lines)))
    return log.record(0, b"".join(line + b"\n" for line in lines), ids)


def good_line(n: int, event: str = "a") -> bytes:
    return pack([event_id(n)], [line_of(event_id(n), event)]).lines.rstrip(b"\n")


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"not json",
        b"",
        b"[]",
        b"null",
        b'{"event":"a"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        good_line(1).replace(b'"shop"', b'""'),
        good_line(1).replace(b'"user_42"', b"5"),
        good_line(1).replace(b'{"n":1}', b"[1]"),
        good_line(1).replace(event_id(1).hex().encode(), b"00ff"),
        good_line(1).replace(event_id(1).hex().encode(), b"z" * 32),
    ],
    ids=lambda line: line[:12].decode(errors="replace"),
)
async def test_a_bad_line_is_a_dead_letter_with_its_place_and_the_others_are_stored(
    table: MemoryEventsTable, log: Log, bad: bytes
) -> None:
    # Whether or not the table would take the line: with one that it refuses, the block is looked at line by line.
    refused = with_lines(log, good_line(0), bad, b"{refused too", good_line(3))
    worker = Worker(table)
    await worker.store(log.envelope([event_id(10)]), refused, log.envelope([event_id(11)]))
    assert table.ids == hexes(10, 0, 3, 11)
    assert worker.places == [(0, refused.offset, 1), (0, refused.offset, 2)]
    letter = worker.letters[0]
    assert (letter.code, letter.origin.service, letter.origin.topic) == ("unreadable_line", "worker", "headrace.events")
    assert letter.payload == payload_text(bad)
    assert letter.message


@pytest.mark.parametrize("bad", [[0], [7], [3, 4], [0, 2, 4, 6], list(range(8))], ids=str)
async def test_lines_that_only_the_table_refuses_are_found(table: MemoryEventsTable, log: Log, bad: list[int]) -> None:
    lines = [good_line(n, REFUSED_EVENT if n in bad else "a") for n in range(8)]
    record = with_lines(log, *lines)
    worker = Worker(table)
    await worker.store(record, log.envelope([event_id(100)]))
    assert sorted(table.ids) == hexes(*[n for n in range(8) if n not in bad], 100)
    assert sorted(worker.places) == [(0, record.offset, n) for n in bad]
    await worker.store(log.envelope([event_id(n) for n in range(8) if n not in bad] + [event_id(200)]))
    assert sorted(table.ids) == hexes(*[n for n in range(8) if n not in bad], 100, 200)


async def test_a_bad_line_does_not_make_its_id_a_repeat(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table)
    await worker.store(with_lines(log, b"{", good_line(1, REFUSED_EVENT)))
    await worker.store(with_lines(log, good_line(0), good_line(1)))
    assert table.ids == hexes(0, 1)


async def test_nor_within_one_block(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table)
    await worker.store(log.envelope([event_id(9)]))
    await worker.store(
        with_lines(log, b"{"), with_lines(log, good_line(0)), with_lines(log, good_line(0)), log.envelope([event_id(9)])
    )
    assert table.ids == hexes(9, 0)
    assert len(worker.letters) == 1


@pytest.mark.parametrize("fault", ["unavailable", "ambiguous"])
async def test_bad_lines_in_a_block_whose_insert_fails_as_well(table: MemoryEventsTable, log: Log, fault: str) -> None:
    setattr(table, fault, 3)
    worker = Worker(table)
    record = with_lines(log, good_line(0), b"{", good_line(2, REFUSED_EVENT), good_line(3))
    await worker.store(record, log.envelope([event_id(9)]))
    assert sorted(table.ids) == hexes(0, 3, 9)
    assert worker.places == [(0, record.offset, 1), (0, record.offset, 2)]


async def test_a_flood_of_bad_lines_stops_before_anything_is_skipped(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table, max_ratio=0.1)
    with pytest.raises(PoisonFloodError):
        await worker.store(with_lines(log, *[b"{"] * 200), log.envelope([event_id(500)]))
    assert (table.ids, worker.letters) == ([], [])


async def test_a_flood_of_records_without_ids_stops_too(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table, max_ratio=0.1)
    with pytest.raises(PoisonFloodError):
        await worker.store(*[log.record(0, b"{\n", None) for _ in range(200)])
    assert worker.letters == []


async def test_when_dead_letters_cannot_be_written_the_block_is_not_done(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table)
    worker.letters_refused = 1
    block = [with_lines(log, good_line(0), b"{", good_line(2)), log.record(0, b"foreign", None)]
    with pytest.raises(KafkaTimeoutError):
        await worker.store(*block)
    restarted = Worker(table)
    await restarted.store(*block)
    assert sorted(table.ids) == hexes(0, 2)
    assert sorted(restarted.places) == [(0, 0, 1), (0, 1, 0)]


async def test_a_huge_bad_line_is_a_whole_dead_letter_in_records_that_fit(table: MemoryEventsTable, log: Log) -> None:
    worker = Worker(table)
    await worker.store(log.record(0, b"\0" * 3_000_000, None))
    (letter,) = worker.letters
    assert letter.payload == "\0" * 3_000_000
    assert max(map(len, letter.records())) < 4 * 1024 * 1024


# Records of foreign producers.


async def test_good_lines_of_a_record_without_ids_are_stored_under_their_own(
    table: MemoryEventsTable, log: Log
) -> None:
    worker = Worker(table)
    record = log.record(0, good_line(1) + b"\n{\n" + good_line(2), None)
    await worker.store(log.envelope([event_id(2)]), record, log.record(0, None, None), log.record(0, b"", None))
    assert sorted(table.ids) == hexes(1, 2)
    assert worker.places == [(0, record.offset, 1), (0, 2, 0), (0, 3, 0)]
    assert "no ids header" in worker.letters[0].message
    await Worker(table).store(record)
    assert sorted(table.ids) == hexes(1, 2)


@pytest.mark.parametrize("ids", [b"", b"\0" * 15, b"\0" * 16, b"\0" * 48], ids=len)
async def test_ids_that_do_not_match_the_lines_are_not_believed(table: MemoryEventsTable, log: Log, ids: bytes) -> None:
    worker = Worker(table)
    await worker.store(log.record(0, good_line(1) + b"\n" + good_line(2) + b"\n", ids))
    assert table.ids == hexes(1, 2)
    assert worker.letters == []


def test_a_foreign_record_says_its_ids_with_or_without_dashes() -> None:
    dashed = "00000000-0000-0000-0000-000000000001"
    line = good_line(1).replace(event_id(1).hex().encode(), dashed.encode())
    envelope, bad = unpack_foreign(Record("t", 3, 7, line + b"\r\n\n\n", None, lambda: None), "reason")
    assert envelope.ids == bytes(15) + b"\x01"
    assert envelope.lines == line + b"\r\n"
    assert bad == []


def test_blank_lines_between_are_dead_letters_and_at_the_end_are_none() -> None:
    value = good_line(1) + b"\n\n" + good_line(2) + b"\n\n\n"
    envelope, bad = unpack_foreign(Record("t", 3, 7, value, None, lambda: None), "no ids")
    assert envelope.lines.count(b"\n") == 2
    assert [letter.origin.line for letter in bad] == [1]
    assert bad[0].message.startswith("no ids; ")


# The pure parts.


def masked(*duplicates: int) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    return np.array(duplicates, dtype=np.bool_)


ENVELOPES = [
    Envelope(bytes(32), b"a\nb\n"),
    Envelope(b"", b""),
    Envelope(bytes(16), b"c\n"),
    Envelope(bytes(32), b"d\ne\n"),
]


@pytest.mark.parametrize(
    ("duplicates", "left"),
    [
        (masked(0, 0, 0, 0, 0), b"a\nb\nc\nd\ne\n"),
        (masked(1, 0, 0, 0, 0), b"b\nc\nd\ne\n"),
        (masked(0, 1, 1, 1, 0), b"a\ne\n"),
        (masked(1, 1, 0, 1, 1), b"c\n"),
        (masked(0, 0, 1, 0, 0), b"a\nb\nd\ne\n"),
        (masked(1, 1, 1, 1, 1), b""),
    ],
    ids=lambda value: "".join("r" if duplicate else "." for duplicate in value) if not isinstance(value, bytes) else "",
)
def test_repeats_are_cut_out_of_the_lines(duplicates: "np.ndarray[Any, np.dtype[np.bool_]]", left: bytes) -> None:
    assert b"".join(_without(ENVELOPES, duplicates)) == left
    records = [Record("t", 0, offset, b"", b"", lambda: None) for offset in range(len(ENVELOPES))]
    lines = lines_of(records, ENVELOPES, duplicates)
    assert b"".join(line + b"\n" for line in lines.lines) == left
    assert len(lines.ids) == len(lines.origins) == len(lines.lines)


def test_lines_keep_their_ids_and_places() -> None:
    packed = pack([event_id(n) for n in range(3)], [line_of(event_id(n)) for n in range(3)])
    records = [Record("t", 5, 40 + n, b"", b"", lambda: None) for n in range(2)]
    lines = lines_of(records, [packed, packed], masked(0, 1, 0, 1, 0, 1))
    assert [json.loads(line)["event_id"] for line in lines.lines] == [i.hex() for i in lines.ids] == hexes(0, 2, 1)
    assert [(o.topic, o.partition, o.offset, o.line) for o in lines.origins] == [
        ("t", 5, 40, 0),
        ("t", 5, 40, 2),
        ("t", 5, 41, 1),
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_halves_are_the_whole(count: int) -> None:
    packed = pack([event_id(n) for n in range(count)], [line_of(event_id(n)) for n in range(count)])
    lines = lines_of([Record("t", 0, 0, b"", b"", lambda: None)], [packed], masked(*[0] * count))
    first, second = lines.half(first=True), lines.half(first=False)
    assert first.lines + second.lines == lines.lines
    assert first.ids + second.ids == lines.ids
    assert first.origins + second.origins == lines.origins
    assert len(first.lines) <= len(second.lines) <= len(first.lines) + 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"event": "n" * 201}, "200"),
        ({"distinct_id": "i" * 513}, "512"),
        ({"distinct_id": "a\0"}, "NUL"),
        ({"timestamp": "9999-11-20T10:00:00Z"}, "2148"),
        ({"timestamp": "1969-11-20T10:00:00Z"}, "2000"),
        ({"received_at": "1970-01-01T00:00:00Z"}, "2000"),
        ({"properties": [1]}, "object"),
    ],
)
def test_what_could_be_stored_and_never_be_found_is_a_fault(changed: dict[str, Any], says: str) -> None:
    fault = fault_of(json.dumps({**json.loads(good_line(1)), **changed}).encode())
    assert fault is not None
    assert says in fault


def test_a_number_that_no_double_holds_is_a_fault() -> None:
    line = json.dumps({**json.loads(good_line(1)), "properties": {"n": "?"}}).encode()
    assert fault_of(line) is None
    assert fault_of(line.replace(b'"?"', b"1e400")) is not None


def test_a_line_of_the_edge_has_no_fault() -> None:
    assert fault_of(good_line(1)) is None


async def test_an_id_in_a_partition_that_is_not_its_own_stops_the_worker() -> None:
    worker = Worker(MemoryEventsTable(), max_ratio=1.0)
    log = Log()
    packed = pack([event_id(1, 1), event_id(2, 1)], [line_of(event_id(1, 1)), line_of(event_id(2, 1))])
    good, wrong = log.envelope([event_id(3, 2)]), log.record(2, packed.lines, packed.ids)
    with pytest.raises(MisplacedIdsError, match=rf"partition 2, offset {wrong.offset}"):
        await worker.sink.store([good, wrong])
    assert worker.sink._store.ids == []  # type: ignore[attr-defined]


async def test_a_mark_makes_the_worker_read_ids_again_at_its_place_in_the_log() -> None:
    """Events of a window were deleted: before the mark their keys are taken, behind it they are free."""
    table = MemoryEventsTable()
    log, worker = Log(), Worker(table)
    await worker.store(log.envelope([event_id(1), event_id(2)]), log.envelope([event_id(1, 1)]))
    table.delete(event_id(1), event_id(1, 1))
    again, other = log.envelope([event_id(1)]), log.envelope([event_id(1, 1)])
    refilled = log.envelope([event_id(1), event_id(2)], event="refilled")
    await worker.store(again, log.record(0, MARK_PLACE, None))
    await worker.store(other, again, log.record(0, MARK_IDS_CHANGED, None), refilled, log.envelope([event_id(3)]))
    stored = {line["event_id"]: line["event"] for line in table.lines}
    # Nothing was said of the other partition.
    assert stored == {event_id(2).hex(): "a", event_id(1).hex(): "refilled", event_id(3).hex(): "a"}
    assert not worker.letters


async def test_the_metric_says_how_long_the_oldest_record_of_a_block_waited(
    table: MemoryEventsTable, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sample(part: str) -> float:
        return REGISTRY.get_sample_value(f"headrace_worker_store_delay_seconds_{part}") or 0

    records = [log.envelope([event_id(n)]) for n in range(2)]
    now = records[0].sent_at_s
    for record, waited in zip(records, (2.0, 5.0), strict=True):
        record.sent_at_s = now - waited
    monkeypatch.setattr("services.worker.events.writer.time.time", lambda: now)
    before = sample("count"), sample("sum")
    await Worker(table).store(*records)
    assert sample("count") == before[0] + 1
    assert sample("sum") - before[1] == pytest.approx(5)
