"""Stores a block of records: unpack, drop repeats, insert, remember the ids. Returns when ClickHouse has it all.

The steps of `store`, and what a crash between them leads to (the record is always read again, see DESIGN.md):
1. unpack      nothing has happened yet
2. repeats     nothing has happened yet; the ids come from memory, filled from ClickHouse when a partition is assigned
3. insert      the events are stored; when the record is read again, their ids are found in ClickHouse: repeats
4. remember    likewise
5. acknowledge (the batcher) the offset is committed some time later; until then as above
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from prometheus_client import Counter, Gauge, Histogram

from services.contract.log.dead_letter import DeadLetter, Origin, payload_text
from services.contract.log.envelope import ID_BYTES, Envelope, EventLine, MalformedEnvelopeError, unpack
from services.contract.tables import EVENT_COLUMNS, EVENTS
from services.runtime.clickhouse import MAX_PATIENCE, BadDataError, ClickHouse, StoreError, StoreTimeoutError, patience
from services.runtime.clock import utc_now
from services.runtime.logs import get_logger
from services.worker.dead_letters import PoisonGate
from services.worker.dedupe.id_index import Ids, Mask, ids_from_bytes
from services.worker.dedupe.memory import Membership
from services.worker.events.block_buffer import Record

log = get_logger(__name__)

ROWS = Counter("headrace_worker_rows_total", "Events stored.")
REPEATS = Counter("headrace_worker_repeats_total", "Events dropped because their id was stored already.")
INSERT_SECONDS = Histogram(
    "headrace_worker_insert_seconds",
    "Time of one insert into ClickHouse.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INSERT_FAILURES = Counter("headrace_worker_insert_failures_total", "Inserts that ClickHouse did not acknowledge.")
STORE_UP = Gauge("headrace_worker_store_up", "1 while ClickHouse takes inserts, 0 while the worker waits for it.")

R = TypeVar("R")

# Events may lie in every month since 2000: ClickHouse's usual limit of 100 partitions an insert would refuse such a
# block for ever, and with it everything behind it.
# To read a block on several cores costs more in all, and the worker has no use for the time that it saves.
_INSERT_SETTINGS = {"max_partitions_per_insert_block": 0, "input_format_parallel_parsing": 0}
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 10.0

_decode_line = msgspec.json.Decoder(EventLine, strict=True).decode


class KnownIds(Protocol):
    """Which ids are stored: by memory (stored_ids.py) or by asking each time (exact_ids.py)."""

    async def load(self, partitions: set[int], oldest_s: float) -> None:
        """Be ready to answer for events of these partitions sent at `oldest_s` or later. Raises StoreError."""

    async def repeats(self, ids: Ids) -> Mask:
        """True for each id that is stored, or that stands earlier in `ids`. Raises StoreError."""

    def remember(self, ids: Ids) -> None:
        """These ids are stored now."""

    def revoked(self, partitions: set[int]) -> None:
        """These partitions were taken away; others may store ids in them."""

    def assigned(self, partitions: set[int], membership: Membership) -> None:
        """These partitions are ours, as this member in this generation of the consumer group."""


class Lines(Struct):
    """Lines of a block, each with its id and the place in the log that it came from."""

    lines: list[bytes]
    ids: list[bytes]
    origins: list[Origin]

    def half(self, first: bool) -> "Lines":
        at = len(self.lines) // 2
        part = slice(None, at) if first else slice(at, None)
        return Lines(self.lines[part], self.ids[part], self.origins[part])

    def where(self, mask: Mask) -> "Lines":
        at = np.flatnonzero(mask)
        return Lines([self.lines[i] for i in at], [self.ids[i] for i in at], [self.origins[i] for i in at])


class ClickHouseSink:
    """Stores blocks one after the other; `store` is what the batcher calls."""

    def __init__(
        self,
        store: ClickHouse,
        stored_ids: KnownIds,
        put_dead_letters: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        gate: PoisonGate,
    ) -> None:
        self._store = store
        self._stored_ids = stored_ids
        self._put_dead_letters = put_dead_letters
        self._gate = gate
        STORE_UP.set(1)

    async def store(self, records: list[Record]) -> None:
        """Returns when every event of the block is stored, was stored before, or is a dead letter.

        Waits as long as ClickHouse is away. Raises PoisonFloodError, and KafkaError from the dead letters.
        """
        envelopes, bad = self._unpack(records)
        partitions = {record.partition for record in records}
        oldest_s = min(record.sent_at_s for record in records)
        await until_stored(lambda: self._stored_ids.load(partitions, oldest_s))
        ids = ids_from_bytes(b"".join([envelope.ids for envelope in envelopes]))
        repeats = await until_stored(lambda: self._stored_ids.repeats(ids))
        REPEATS.inc(int(repeats.sum()))
        parts = _without(envelopes, repeats)
        kept = ids.where(~repeats)
        try:
            await self._insert(parts)
            self._gate.count(len(kept), len(bad))
        except BadDataError:
            # All lines again, also the repeats: one whose first is bad is no repeat.
            good, bad_lines = await self._find_bad(_lines_of(records, envelopes, np.zeros_like(repeats)))
            good_ids = ids_from_bytes(b"".join(good.ids))
            good = good.where(~await until_stored(lambda: self._stored_ids.repeats(good_ids)))
            bad += bad_lines
            self._gate.count(len(good.ids), len(bad))
            await self._put(bad)
            bad = []
            await self._insert_each(good)
            kept = ids_from_bytes(b"".join(good.ids))
        await self._put(bad)
        self._stored_ids.remember(kept)
        ROWS.inc(len(kept))

    def _unpack(self, records: list[Record]) -> tuple[list[Envelope], list[DeadLetter]]:
        """The records' envelopes; what is none goes by line, so that a foreign producer's good lines are stored."""
        envelopes, bad = [], []
        for record in records:
            try:
                envelopes.append(unpack(record.value, record.ids))
            except MalformedEnvelopeError as error:
                envelope, letters = _unpack_foreign(record, str(error))
                envelopes.append(envelope)
                bad += letters
        return envelopes, bad

    async def _insert(self, parts: Sequence[bytes]) -> None:
        """Insert, again and again, the same lines. Raises BadDataError only."""
        if any(parts):
            await until_stored(lambda: self._insert_once(parts))

    async def _insert_once(self, parts: Sequence[bytes]) -> None:
        with INSERT_SECONDS.time():
            await self._store.insert_lines(EVENTS, EVENT_COLUMNS, parts, fresh_token(), _INSERT_SETTINGS)

    async def _find_bad(self, lines: Lines) -> tuple[Lines, list[DeadLetter]]:
        """The lines of a refused block that are no events, and the others."""
        good, bad = Lines([], [], []), []
        for line, line_id, origin in zip(lines.lines, lines.ids, lines.origins, strict=True):
            reason = _fault_of(line)
            if reason is None:
                good.lines.append(line)
                good.ids.append(line_id)
                good.origins.append(origin)
            else:
                bad.append(_dead_letter(line, reason, origin))
        return good, bad

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
                    await self._put([_dead_letter(part.lines[0], str(error)[:500], part.origins[0])])
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


def fresh_token() -> str:
    """A deduplication token that no other try of an insert has: ClickHouse must not drop a second try.

    A server that dies while it stores a block of several parts may have written down parts as seen that it has not
    kept; a second try under the same token would lose them. Rows that are stored twice are equal, and collapse.
    """
    return secrets.token_hex(16)


async def until_stored(attempt: Callable[[], Awaitable[R]]) -> R:
    """Attempt again and again while ClickHouse does not take it, ever more slowly, and with ever more time for the
    answer. Raises BadDataError only."""
    delay_s = _RETRY_FIRST_S
    usual = patience.set(1)
    try:
        while True:
            try:
                result = await attempt()
                STORE_UP.set(1)
                return result
            except BadDataError:
                raise
            except StoreError as error:
                INSERT_FAILURES.inc()
                STORE_UP.set(0)
                log.warning("store_failed", reason=str(error)[:500], retry_in_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_LAST_S)
                if isinstance(error, StoreTimeoutError):
                    patience.set(min(2 * patience.get(), MAX_PATIENCE))
    finally:
        patience.reset(usual)


def _without(envelopes: list[Envelope], repeats: Mask) -> list[bytes]:
    """The lines of all envelopes but the repeated ones. Envelopes without a repeat are passed on unread."""
    if not repeats.any():
        return [envelope.lines for envelope in envelopes]
    parts = []
    at = 0
    for envelope in envelopes:
        count = len(envelope.ids) // ID_BYTES
        drop = repeats[at : at + count]
        at += count
        if not drop.any():
            parts.append(envelope.lines)
        elif not drop.all():
            lines = envelope.lines.split(b"\n")
            parts += [lines[i] + b"\n" for i in np.flatnonzero(~drop)]
    return parts


def _lines_of(records: list[Record], envelopes: list[Envelope], repeats: Mask) -> Lines:
    lines = Lines([], [], [])
    at = 0
    for record, envelope in zip(records, envelopes, strict=True):
        for i, line in enumerate(envelope.lines.split(b"\n")[:-1]):
            if not repeats[at + i]:
                lines.lines.append(line)
                lines.ids.append(envelope.ids[i * ID_BYTES : (i + 1) * ID_BYTES])
                lines.origins.append(_origin(record, i))
        at += len(envelope.ids) // ID_BYTES
    return lines


def _unpack_foreign(record: Record, reason: str) -> tuple[Envelope, list[DeadLetter]]:
    """A record without usable ids: its lines are read one by one, and say their ids themselves."""
    ids, lines, bad = [], [], []
    for i, line in enumerate((record.value or b"").rstrip(b"\n").split(b"\n")):
        fault = _fault_of(line)
        if fault is None:
            ids.append(bytes.fromhex(_decode_line(line).event_id.replace("-", "")))
            lines.append(line + b"\n")
        else:
            bad.append(_dead_letter(line, f"{reason}; {fault}", _origin(record, i)))
    return Envelope(b"".join(ids), b"".join(lines)), bad


def _fault_of(line: bytes) -> str | None:
    """Why a line is no event, or None."""
    try:
        event = _decode_line(line)
        if len(bytes.fromhex(event.event_id.replace("-", ""))) != ID_BYTES:
            return "event_id must have 32 hexadecimal digits"
        if not event.project_id or not event.event or not event.distinct_id:
            return "project_id, event and distinct_id must not be empty"
        if not bytes(event.properties).startswith(b"{"):
            return "properties must be an object"
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return str(error)
    return None


def _origin(record: Record, line: int) -> Origin:
    return Origin(service="worker", topic=record.topic, partition=record.partition, offset=record.offset, line=line)


def _dead_letter(line: bytes, reason: str, origin: Origin) -> DeadLetter:
    return DeadLetter(code="unreadable_line", message=reason, origin=origin, payload=payload_text(line), at=utc_now())
