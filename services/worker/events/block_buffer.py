"""Gathers Kafka records into blocks: full by events, bytes or records, or old enough. One block is stored at a time
while the next one gathers; when that is full too, reading waits. So memory holds two blocks, whatever the lag is.

The limits are the settings HEADRACE_WORKER_BLOCK_EVENTS, _BYTES, _RECORDS and _AGE_S. While the store is quick, a block
is stored at half of that age: events are visible sooner. When it is slow, blocks grow up to the whole age.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from msgspec import Struct

from services.contract.log.envelope import ID_BYTES
from services.worker.record import Record

# A block gathers for so many times as long as the last one took to store: so the store rests for a third of the time.
_TIMES_STORED = 1.5
# But for no less than this part of the longest age: each block costs the store some milliseconds, whatever is in it.
_SHORTEST = 0.5


class BlockLimits(Struct, frozen=True):
    events: int
    size_bytes: int
    records: int
    age_s: float


class BlockBuffer:
    """`store` is called with one block after the other; when it returns, the block's records are acknowledged."""

    def __init__(self, limits: BlockLimits, store: Callable[[list[Record]], Awaitable[None]]) -> None:
        self._limits = limits
        self._age_s = limits.age_s
        self._store = store
        self._records: list[Record] = []
        self._events = 0
        self._bytes = 0
        self._first_at = 0.0
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self.waiting_records = 0

    async def add(self, records: Iterable[Record]) -> None:
        """Put records into the block that gathers. Waits whenever that is full."""
        for record in records:
            while self._full.is_set():
                self._room.clear()
                await self._room.wait()
            self._put(record)

    def _put(self, record: Record) -> None:
        if not self._records:
            self._first_at = asyncio.get_running_loop().time()
            self._some.set()
        self._records.append(record)
        self.waiting_records += 1
        self._events += len(record.ids or b"") // ID_BYTES
        self._bytes += len(record.value or b"")
        limits = self._limits
        if self._events >= limits.events or self._bytes >= limits.size_bytes or len(self._records) >= limits.records:
            self._full.set()

    async def run(self) -> None:
        """Store blocks for ever. Raises what `store` raises; the block's records then stay unacknowledged."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            age = loop.time() - self._first_at
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), max(0.0, self._age_s - age))
            block = self._take()
            began = loop.time()
            await self._store(block)
            self._age_s = self._age_after(loop.time() - began)
            for record in block:
                record.acknowledge()
            self.waiting_records -= len(block)

    def _age_after(self, took_s: float) -> float:
        """How old the next block becomes, where the last took so long to store."""
        return min(self._limits.age_s, max(_SHORTEST * self._limits.age_s, _TIMES_STORED * took_s))

    def _take(self) -> list[Record]:
        block = self._records
        self._records = []
        self._events = self._bytes = 0
        self._some.clear()
        self._full.clear()
        self._room.set()
        return block
