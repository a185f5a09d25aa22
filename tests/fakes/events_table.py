"""The events table in memory, with the faults that a ClickHouse can have, and lines and records to put into it."""

import json
import math
import struct
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw

from services.contract.log.envelope import ID_BYTES, EventLine, pack
from services.contract.log.topics import Partitioning
from services.runtime.clickhouse import (
    BadDataError,
    ClickHouse,
    Parameters,
    SentTable,
    Settings,
    StoreUnavailableError,
)
from services.runtime.clock import utc_now
from services.worker.record import Record
from tests.fakes.settings import CLICKHOUSE

PARTITIONS = 4
# An event of this name looks right and is refused by the table all the same.
REFUSED_EVENT = "refused by the table"


class MemoryEventsTable(ClickHouse):
    """Inserts JSON lines, block by block, and gives back their ids.

    A block with a line that is no JSON object, or of REFUSED_EVENT, is refused whole. A block under a token that was
    seen is lost, as by a server that died while it stored it. Equal lines are one, as for a read with FINAL.
    `unavailable` inserts fail before the block is stored, `ambiguous` ones after it; `unreadable`
    queries fail.
    """

    def __init__(self) -> None:
        super().__init__(CLICKHOUSE)
        self._rows: list[dict[str, Any]] = []
        self.inserts = 0
        self.unavailable = 0
        self.ambiguous = 0
        self.unreadable = 0
        self.tokens: set[str] = set()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [row for i, row in enumerate(self._rows) if row not in self._rows[:i]]

    @property
    def ids(self) -> list[str]:
        return [line["event_id"] for line in self.lines]

    def delete(self, *event_ids: bytes) -> None:
        gone = {event_id.hex() for event_id in event_ids}
        self._rows = [row for row in self._rows if row["event_id"] not in gone]

    async def insert_lines(
        self,
        table: str,
        columns: Sequence[str],
        lines: bytes | Sequence[bytes],
        token: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.inserts += 1
        if self.unavailable:
            self.unavailable -= 1
            raise StoreUnavailableError("refused", 202)
        block = [_read(line) for line in (lines if isinstance(lines, bytes) else b"".join(lines)).splitlines()]
        if token is None or token not in self.tokens:
            self._rows += block
            self.tokens.add(token or "")
        if self.ambiguous:
            self.ambiguous -= 1
            raise StoreUnavailableError("no answer")

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        """The one query with an answer of numbers: how many events some partitions have since a time."""
        self._refuse_reading()
        assert "count()" in sql
        asked = dict(parameters or {})
        return [(len(self._found(asked, asked["since"], math.inf)),)]

    async def raw(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None, fmt: str = "JSONEachRow"
    ) -> bytes:
        """Ids of some partitions and some time."""
        self._refuse_reading()
        assert fmt == "RowBinary"
        asked = dict(parameters or {})
        return _turned(b"".join(set(self._found(asked, asked["since"], asked["until"]))))

    async def raw_with(
        self, table: SentTable, sql: str, parameters: Parameters, settings: Settings, fmt: str = "RowBinary"
    ) -> bytes:
        """Which of the ids that are sent are stored since a time."""
        self._refuse_reading()
        ids = _turned(table.rows)
        sent = {ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)}
        return _turned(b"".join(sent & set(self._found({}, parameters["since"], math.inf))))

    def _found(self, asked: dict[str, Any], since_ms: float, until_ms: float) -> list[bytes]:
        found = []
        for line in self.lines:
            event_id = bytes.fromhex(line["event_id"])
            received_ms = datetime.fromisoformat(line["received_at"]).timestamp() * 1000
            here = (
                "wanted" not in asked
                or Partitioning(asked["partitions"], asked["buckets"]).partition_of(event_id) in asked["wanted"]
            )
            if here and since_ms <= received_ms < until_ms:
                found.append(event_id)
        return found

    def _refuse_reading(self) -> None:
        if self.unreadable:
            self.unreadable -= 1
            raise StoreUnavailableError("refused", 202)


def _turned(ids: bytes) -> bytes:
    """Ids as ClickHouse writes UUIDs in RowBinary, two little-endian halves; and back."""
    return b"".join(struct.pack("<Q", half) for (half,) in struct.iter_unpack(">Q", ids))


def _read(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"cannot parse: {error}", 27) from error
    if not isinstance(row, dict) or row.get("event") == REFUSED_EVENT:
        raise BadDataError("cannot parse the row", 27)
    return row


class Log:
    """A topic's partitions, as far as the worker sees them: makes records, and remembers which are acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[int, int]] = []
        self._offsets = dict.fromkeys(range(PARTITIONS), 0)

    def envelope(self, ids: Sequence[bytes], event: str = "a", age: timedelta = timedelta()) -> Record:
        """One record, in the partition of its first id."""
        packed = pack(ids, [line_of(event_id, event, age) for event_id in ids])
        return self.record(Partitioning(PARTITIONS).partition_of(ids[0]), packed.lines, packed.ids)

    def record(self, partition: int, value: bytes | None, ids: bytes | None) -> Record:
        offset = self._offsets[partition]
        self._offsets[partition] += 1
        return Record(
            "headrace.events",
            partition,
            offset,
            value,
            ids,
            lambda: self.acknowledged.append((partition, offset)),
            time.time(),
        )


def line_of(event_id: bytes, event: str = "a", age: timedelta = timedelta()) -> EventLine:
    now = utc_now() - age
    return EventLine("shop", event_id.hex(), event, "user_42", now, now, Raw(b'{"n":1}'))


def event_id(n: int, partition: int = 0) -> bytes:
    """The n-th id of a partition."""
    return bytes([0, partition]) + n.to_bytes(14, "big")
