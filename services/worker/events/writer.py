"""Stores a block of records: unpack, drop duplicates, insert, remember the ids. Returns when ClickHouse has it all.

The steps of `store`, and what a crash between them leads to. The record is always read again, see
docs/explanation/exactly-once.md:

1. unpack      nothing has happened yet
2. duplicates  nothing has happened yet; the ids come from memory, filled from ClickHouse when a partition is assigned
3. insert      the events are stored; when the record is read again, their ids are found in ClickHouse: duplicates
4. remember    likewise
5. acknowledge (the buffer) the offset is committed some time later; until then as above
"""

import math
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from prometheus_client import Counter, Histogram

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import Envelope
from services.contract.log.marks import MARK_IDS_CHANGED, MARKS
from services.contract.log.topics import Partitioning
from services.contract.tables import EVENT_COLUMNS, EVENTS
from services.runtime.clickhouse import BadDataError, ClickHouse
from services.runtime.logs import get_logger
from services.runtime.metrics import FormerName
from services.worker.dead_letters import PoisonGate, dead_letter
from services.worker.dedupe.ids import Ids, Mask, ids_from_bytes, partitions_of
from services.worker.dedupe.port import Dedupe
from services.worker.events.bad_lines import Lines, find_bad, lines_of, unpack_all
from services.worker.record import Record
from services.worker.until_stored import STORE_UP, fresh_token, until_stored

log = get_logger(__name__)
ROWS = Counter("headrace_worker_rows_total", "Events stored.")
DUPLICATES = Counter("headrace_worker_duplicates_total", "Events dropped because their id was stored already.")
FormerName("headrace_worker_repeats", DUPLICATES)
INSERT_SECONDS = Histogram(
    "headrace_worker_insert_seconds",
    "Time of one insert into ClickHouse.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STORE_DELAY = Histogram(
    "headrace_worker_store_delay_seconds",
    "From the log to the store, of the oldest record of each block.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400),
)
# Events may lie in every month since 2000: ClickHouse's usual limit of 100 partitions an insert would refuse such a
# block for ever, and with it everything behind it.
# To read a block on several cores costs more in all, and the worker has no use for the time that it saves.
ANY_MONTHS = {"max_partitions_per_insert_block": 0, "input_format_parallel_parsing": 0}
# No two lines of a block have one id. To look for such costs ClickHouse a fifth of an insert.
ALL_DIFFERENT = {**ANY_MONTHS, "optimize_on_insert": 0}


class MisplacedIdsError(Exception):
    """A record's ids do not belong to its partition. The record stays in the log; somebody has to look."""


class EventWriter:
    """Stores blocks one after the other; `store` is what the buffer calls."""

    def __init__(
        self,
        store: ClickHouse,
        dedupe: Dedupe,
        put_dead_letters: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        gate: PoisonGate,
        spread: Partitioning,
    ) -> None:
        self._store = store
        self._dedupe = dedupe
        self._put_dead_letters = put_dead_letters
        self._gate = gate
        self._spread = spread
        STORE_UP.set(1)

    async def store(self, records: list[Record]) -> None:
        """Returns when every event of the block is stored, was stored before, or is a dead letter.

        Waits as long as ClickHouse is away. Raises PoisonFloodError, MisplacedIdsError, and KafkaError from the
        dead letters.
        """
        begin = 0
        for at, record in enumerate(records):
            # Only marks, and records of foreign producers, have no ids.
            if record.ids is None and record.value in MARKS:
                await self._store_between(records[begin:at])
                begin = at + 1
                if record.value == MARK_IDS_CHANGED:
                    self._dedupe.changed(record.partition)
        await self._store_between(records[begin:] if begin else records)

    async def _store_between(self, records: list[Record]) -> None:
        """A block, or what of it lies between two marks."""
        if not records:
            return
        envelopes, bad = unpack_all(records)
        ids = ids_from_bytes(b"".join([envelope.ids for envelope in envelopes]))
        self._check_places(records, envelopes, ids)
        oldest_s: dict[int, float] = {}
        for record in records:
            oldest_s[record.partition] = min(record.sent_at_s, oldest_s.get(record.partition, math.inf))
        await until_stored(lambda: self._dedupe.load(oldest_s))
        duplicates = await until_stored(lambda: self._dedupe.duplicates(ids))
        DUPLICATES.inc(int(duplicates.sum()))
        parts = _without(envelopes, duplicates)
        kept = ids.where(~duplicates)
        try:
            await self._insert(parts)
        except BadDataError:
            kept = await self._store_lines(records, envelopes, bad)
        else:
            self._gate.count(len(kept), len(bad))
            await self._put(bad)
        self._dedupe.remember(kept)
        ROWS.inc(len(kept))
        STORE_DELAY.observe(max(0.0, time.time() - min(oldest_s.values())))

    async def _store_lines(self, records: list[Record], envelopes: list[Envelope], bad: list[DeadLetter]) -> Ids:
        """Store a block that ClickHouse refused, line by line where it must be; what cannot be stored becomes a dead
        letter, as `bad` does. The ids that are stored."""
        # All lines again, also the duplicates: one whose first is bad is no duplicate.
        good, bad_lines = find_bad(
            lines_of(records, envelopes, np.zeros(sum(envelope.count for envelope in envelopes), np.bool_))
        )
        ids = ids_from_bytes(b"".join(good.ids))
        good = good.where(~await until_stored(lambda: self._dedupe.duplicates(ids)))
        bad = bad + bad_lines
        self._gate.count(len(good.ids), len(bad))
        await self._put(bad)
        await self._insert_each(good)
        return ids_from_bytes(b"".join(good.ids))

    def _check_places(self, records: list[Record], envelopes: list[Envelope], ids: Ids) -> None:
        """Each id in the partition that it belongs to: in another one, nobody knows whether it is stored."""
        counts = [envelope.count for envelope in envelopes]
        found = np.repeat(np.array([record.partition for record in records], np.uint64), counts)
        wrong = np.flatnonzero(partitions_of(ids, self._spread) != found)
        if len(wrong):
            at = int(np.searchsorted(np.cumsum(counts), wrong[0], side="right"))
            raise MisplacedIdsError(
                f"{records[at].topic}, partition {records[at].partition}, offset {records[at].offset}: an id that belongs "
                f"to another of {self._spread.partitions} partitions. An edge or a foreign producer spreads ids in "
                "another way. Nothing was skipped. Restart edges that are older than the last `headrace partitions use`; "
                "a producer of your own must use the formula in contract/log/topics.py."
            )

    async def _insert(self, parts: Sequence[bytes]) -> None:
        """Insert, again and again, the same lines. Raises BadDataError only."""
        if any(parts):
            await until_stored(lambda: self._insert_once(parts))

    async def _insert_once(self, parts: Sequence[bytes]) -> None:
        with INSERT_SECONDS.time():
            await self._store.insert_lines(EVENTS, EVENT_COLUMNS, parts, fresh_token(), ALL_DIFFERENT)

    async def _insert_each(self, lines: Lines) -> None:
        """Insert lines of which a few may still be refused, by halving: the refused ones become dead letters.

        Removes those from `lines`.
        """
        pending, stored = [lines], Lines([], [], [])
        while pending:
            part = pending.pop()
            if not part.lines:
                continue
            try:
                await self._insert([line + b"\n" for line in part.lines])
            except BadDataError as error:
                if len(part.lines) == 1:
                    self._gate.count(0, 1)
                    await self._put([dead_letter(part.lines[0], str(error)[:500], part.origins[0], part.ids[0])])
                else:
                    pending += [part.half(first=False), part.half(first=True)]
                continue
            stored.lines += part.lines
            stored.ids += part.ids
        lines.lines, lines.ids = stored.lines, stored.ids

    async def _put(self, letters: list[DeadLetter]) -> None:
        if letters:
            log.warning("dead_letters", count=len(letters), first=letters[0].message, origin=str(letters[0].origin))
            await self._put_dead_letters(letters)


def _without(envelopes: list[Envelope], duplicates: Mask) -> list[bytes]:
    """The lines of all envelopes but the duplicates. Envelopes without a duplicate are passed on unread."""
    if not duplicates.any():
        return [envelope.lines for envelope in envelopes]
    parts = []
    at = 0
    for envelope in envelopes:
        drop = duplicates[at : at + envelope.count]
        at += envelope.count
        if not drop.any():
            parts.append(envelope.lines)
        elif not drop.all():
            lines = envelope.lines.split(b"\n")
            parts += [lines[i] + b"\n" for i in np.flatnonzero(~drop)]
    return parts
