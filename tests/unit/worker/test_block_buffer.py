"""Blocks: when one is full, that reading waits, and that only what is stored is acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

import pytest
from msgspec import Struct, structs

from services.worker.events.block_buffer import BlockBuffer, BlockLimits
from services.worker.record import Record

NEVER_S = 3600.0
WIDE = BlockLimits(events=10**9, size_bytes=10**9, records=10**9, age_s=NEVER_S)


def record(
    offset: int, events: int = 1, size_bytes: int = 10, acknowledge: Callable[[], object] = lambda: None
) -> Record:
    return Record("t", 0, offset, b"x" * size_bytes, bytes(16 * events), acknowledge)


class Store:
    """What the buffer stores into. Each block waits for `release`, unless `open`."""

    def __init__(self, *, is_open: bool) -> None:
        self.blocks: list[list[int]] = []
        self.failure: Exception | None = None
        self._open = is_open
        self._begun: asyncio.Queue[list[int]] = asyncio.Queue()
        self._release: asyncio.Queue[None] = asyncio.Queue()

    async def store(self, records: list[Record]) -> None:
        self.blocks.append([r.offset for r in records])
        await self._begun.put(self.blocks[-1])
        if not self._open:
            await self._release.get()
        if self.failure:
            raise self.failure

    async def begun(self) -> list[int]:
        """The next block that came, when it comes."""
        return await asyncio.wait_for(self._begun.get(), 5)

    def release(self) -> None:
        self._release.put_nowait(None)


class Running(Struct):
    buffer: BlockBuffer
    store: Store
    task: "asyncio.Task[None]"


Start = Callable[..., Running]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    tasks: list[asyncio.Task[None]] = []

    def start(limits: BlockLimits, *, is_open: bool = True) -> Running:
        store = Store(is_open=is_open)
        buffer = BlockBuffer(limits, store.store)
        tasks.append(asyncio.create_task(buffer.run()))
        return Running(buffer, store, tasks[-1])

    yield start
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, RuntimeError):
            await task


Later = Callable[[float], None]


@pytest.fixture
async def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Puts the loop's clock so many seconds ahead of the real one."""
    loop = asyncio.get_running_loop()
    real = loop.time

    def later(seconds: float) -> None:
        monkeypatch.setattr(loop, "time", lambda: real() + seconds)

    return later


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("limits", "first", "rest"),
    [
        (structs.replace(WIDE, records=3), [record(n) for n in range(3)], [record(3)]),
        (structs.replace(WIDE, events=10), [record(0, events=4), record(1, events=5), record(2)], [record(3)]),
        (structs.replace(WIDE, events=10), [record(0, events=9), record(1, events=50)], [record(2)]),
        (structs.replace(WIDE, size_bytes=100), [record(0, size_bytes=99), record(1, size_bytes=1)], [record(2)]),
        (structs.replace(WIDE, size_bytes=100), [record(0, size_bytes=5000)], [record(1)]),
    ],
    ids=["records", "events", "events at once", "bytes", "one large record"],
)
async def test_a_block_is_stored_as_soon_as_it_is_full(
    start: Start, limits: BlockLimits, first: list[Record], rest: list[Record]
) -> None:
    running = start(limits)
    for item in first[:-1]:
        await running.buffer.add([item])
    await settle()
    assert running.store.blocks == []
    await running.buffer.add([first[-1]])
    for item in rest:
        await running.buffer.add([item])
    assert await running.store.begun() == [item.offset for item in first]
    await settle()
    assert len(running.store.blocks) == 1


async def test_a_block_is_stored_when_it_is_old_enough(start: Start, later: Later) -> None:
    running = start(structs.replace(WIDE, age_s=60))
    await running.buffer.add([record(0)])
    await settle()
    later(59)
    await running.buffer.add([record(1)])
    await settle()
    assert running.store.blocks == []
    later(61)
    assert await running.store.begun() == [0, 1]
    await running.buffer.add([record(2)])
    await settle()
    assert len(running.store.blocks) == 1


@pytest.mark.parametrize(
    ("took_s", "age_s"), [(0, 30), (10, 30), (24, 36), (1000, 60)], ids=["at once", "quick", "slower", "slow"]
)
async def test_a_block_grows_older_after_one_that_took_long_to_store(
    start: Start, later: Later, took_s: float, age_s: float
) -> None:
    running = start(structs.replace(WIDE, records=2, age_s=60), is_open=False)
    await running.buffer.add([record(0), record(1)])
    await running.store.begun()
    later(took_s)
    running.store.release()
    await settle()
    await running.buffer.add([record(2)])
    await settle()
    later(took_s + age_s - 1)
    await settle()
    assert len(running.store.blocks) == 1
    later(took_s + age_s + 1)
    assert await running.store.begun() == [2]


async def test_a_block_that_grew_old_while_another_was_stored_does_not_wait_again(start: Start, later: Later) -> None:
    running = start(structs.replace(WIDE, records=2, age_s=60), is_open=False)
    for offset in range(3):
        await running.buffer.add([record(offset)])
    assert await running.store.begun() == [0, 1]
    later(61)
    running.store.release()
    assert await running.store.begun() == [2]


async def test_nothing_is_stored_where_nothing_came(start: Start, later: Later) -> None:
    running = start(structs.replace(WIDE, age_s=60))
    await settle()
    later(1000)
    await settle()
    assert running.store.blocks == []
    assert not running.task.done()


async def test_records_without_value_or_ids_count_as_records(start: Start) -> None:
    running = start(structs.replace(WIDE, records=2))
    for offset in range(2):
        await running.buffer.add([Record("t", 0, offset, None, None, lambda: None)])
    assert await running.store.begun() == [0, 1]


async def test_a_block_is_acknowledged_only_after_it_is_stored(start: Start) -> None:
    acknowledged: list[int] = []
    running = start(structs.replace(WIDE, records=2), is_open=False)
    for offset in range(3):
        await running.buffer.add([record(offset, acknowledge=partial(acknowledged.append, offset))])
    await running.store.begun()
    await settle()
    assert acknowledged == []
    assert running.buffer.waiting_records == 3
    running.store.release()
    await settle()
    assert acknowledged == [0, 1]
    assert running.buffer.waiting_records == 1


async def test_a_block_that_could_not_be_stored_is_not_acknowledged(start: Start) -> None:
    acknowledged: list[int] = []
    running = start(structs.replace(WIDE, records=1))
    running.store.failure = RuntimeError("flood")
    await running.buffer.add([record(0, acknowledge=lambda: acknowledged.append(0))])
    with pytest.raises(RuntimeError, match="flood"):
        await asyncio.wait_for(running.task, 5)
    assert acknowledged == []


async def test_while_one_block_is_stored_the_next_one_gathers_and_then_reading_waits(start: Start) -> None:
    running = start(structs.replace(WIDE, records=2), is_open=False)
    added: list[int] = []

    async def read(first: int) -> None:
        for offset in range(first, first + 4):
            await running.buffer.add([record(offset)])
            added.append(offset)

    readers = [asyncio.create_task(read(first)) for first in (0, 100)]
    await settle()
    assert len(running.store.blocks) == 1
    assert len(added) == 4
    for blocks in (2, 3, 4):
        running.store.release()
        await settle()
        assert len(running.store.blocks) == blocks
        assert len(added) == min(8, 2 * blocks + 2)
    await asyncio.gather(*readers)
    assert [len(block) for block in running.store.blocks] == [2, 2, 2, 2]
    assert sorted(offset for block in running.store.blocks for offset in block) == [0, 1, 2, 3, 100, 101, 102, 103]
    for first in (0, 100):
        of_reader = [o for block in running.store.blocks for o in block if first <= o < first + 4]
        assert of_reader == sorted(of_reader)
