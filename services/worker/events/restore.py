"""Stores what of some records is not in ClickHouse, although it was once: see consumer/store_restarts.py.

The index in memory holds the ids of these events, and is right to: nobody else may store them. So ClickHouse itself is
asked, first about what it received lately, then about the few others.
"""

from collections.abc import Sequence

import msgspec
from prometheus_client import Counter

from services.contract.log.envelope import EventLine
from services.contract.tables import EVENT_COLUMNS, EVENTS
from services.runtime.clickhouse import BadDataError, ClickHouse
from services.runtime.deleted import deleted_lines
from services.worker.dedupe.clickhouse import stored_ids
from services.worker.dedupe.id_index import IdIndex
from services.worker.dedupe.ids import Ids, Mask, ids_from_bytes
from services.worker.dedupe.window import CLOCK_SKEW_S
from services.worker.events.bad_lines import Lines, find_bad, lines_of, unpack_all
from services.worker.events.writer import ANY_MONTHS
from services.worker.record import Record
from services.worker.until_stored import fresh_token, until_stored

RESTORED = Counter(
    "headrace_worker_restored_rows_total",
    "Events that ClickHouse had acknowledged and lost, and that were stored again.",
)
_decode = msgspec.json.Decoder(EventLine).decode


class EventRestorer:
    """`window_s`: of the ids; what is older than that may be stored twice, as always."""

    def __init__(self, store: ClickHouse, window_s: int) -> None:
        self._store = store
        self._window_s = window_s

    async def store_missing(self, records: list[Record]) -> int:
        """The number of events that were missing and are stored. Waits as long as ClickHouse is away.

        Bad lines became dead letters when they were first read, and what was deleted since stays away.
        """
        envelopes, _ = unpack_all(records)
        ids = ids_from_bytes(b"".join([envelope.ids for envelope in envelopes]))
        if len(ids) == 0:
            return 0
        oldest_s = min(record.sent_at_s for record in records)
        there = await until_stored(lambda: self._there(ids, oldest_s))
        if there.all():
            return 0
        lines, _ = find_bad(lines_of(records, envelopes, there))
        kept = await until_stored(lambda: self._not_deleted(lines))
        stored = await self._insert(kept)
        RESTORED.inc(stored)
        return stored

    async def _insert(self, lines: Sequence[bytes]) -> int:
        """How many were stored. What ClickHouse refuses became a dead letter when it was first read."""
        if not lines:
            return 0
        body = b"\n".join(lines) + b"\n"
        try:
            await until_stored(lambda: self._store.insert_lines(EVENTS, EVENT_COLUMNS, body, fresh_token(), ANY_MONTHS))
        except BadDataError:
            half = len(lines) // 2
            return await self._insert(lines[:half]) + await self._insert(lines[half:]) if half else 0
        return len(lines)

    async def _there(self, ids: Ids, oldest_s: float) -> Mask:
        """True for each id that is stored, or that stands earlier in `ids`."""
        lately = await self._add(IdIndex(self._window_s), ids, oldest_s - CLOCK_SKEW_S)
        missing = ids.where(~lately.duplicates(ids))
        return (await self._add(lately, missing, oldest_s - self._window_s - CLOCK_SKEW_S)).duplicates(ids)

    async def _add(self, index: IdIndex, ids: Ids, since_s: float) -> IdIndex:
        index.add(await stored_ids(self._store, ids, since_s), 0.0)
        return index

    async def _not_deleted(self, lines: Lines) -> Sequence[bytes]:
        deleted = await deleted_lines(self._store, [_decode(line) for line in lines.lines])
        return [line for line, is_deleted in zip(lines.lines, deleted, strict=True) if not is_deleted]
