"""A proxy between a worker and ClickHouse that understands HTTP just enough to spoil one request at a chosen point."""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from enum import Enum

from services.devstack.child_process import free_port

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_STREAM_LIMIT = 1024 * 1024


class Mode(Enum):
    """What happens to requests. All but SLOW and REFUSE concern inserts alone; the others pass."""

    PASS = "pass"
    SLOW = "slow"  # every request waits before it is passed on
    REFUSE = "refuse"  # connections are refused
    CUT_BODY = "cut body"  # half the body goes through, then both connections end
    CUT_ANSWER = "cut answer"  # the whole request goes through, the connection ends before the answer
    SWALLOW = "swallow"  # the whole request goes through, and there is never an answer
    HANG = "hang"  # nothing goes through, and there is never an answer
    HOLD = "hold"  # nothing goes through until `release`; then all of it, whether or not the sender still lives


@dataclass
class _Request:
    head: bytes
    body: bytes

    @property
    def is_insert(self) -> bool:
        return b"INSERT" in self.head.partition(b"\r\n")[0] or b"INSERT" in self.body[:200]


class Proxy:
    """Listens on `port` and passes on to `upstream_port`, both on 127.0.0.1."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_port()
        self.mode = Mode.PASS
        self.delay_s = 0.0
        self.spoiled = 0
        self.caught = asyncio.Event()
        self._upstream_port = upstream_port
        self._released = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivered = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", self.port, limit=_STREAM_LIMIT)

    async def stop(self) -> None:
        await self._stop_listening()
        await self._end_connections()

    async def set(self, mode: Mode, delay_s: float = 0.0) -> None:
        """From the next request on. `caught` is set when an insert has reached the point that the mode spoils."""
        if self.mode is not Mode.HOLD:
            self._released.set()  # who still waits for an answer that never comes
        self._released = asyncio.Event()
        self.caught = asyncio.Event()
        self._delivered = asyncio.Event()
        self.delay_s = delay_s
        self.mode = mode
        if mode is Mode.REFUSE:
            await self._stop_listening()
            await self._end_connections()
        elif self._server is None:
            await self.start()

    async def release(self) -> None:
        """Lets go what HOLD holds, and what comes later; returns when ClickHouse has answered it."""
        self.mode = Mode.PASS
        self._released.set()
        await self._delivered.wait()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _end_connections(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: _Upstream | None = None
        try:
            upstream = await _Upstream.connect(self._upstream_port)
            while (request := await _read_message(reader)) is not None:
                answer = await self._treat(_Request(*request), upstream)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the ends is gone, or the connection is to be refused: so is the other end's
        finally:
            self._tasks.discard(task)
            for end in (writer, upstream.writer if upstream else None):
                if end is not None:
                    end.transport.abort()

    async def _treat(self, request: _Request, upstream: "_Upstream") -> bytes | None:
        """The answer; None when the connection ends here."""
        mode = self.mode
        if mode is Mode.SLOW:
            await asyncio.sleep(self.delay_s)
        elif mode is not Mode.PASS and request.is_insert:
            return await self._spoil(mode, request, upstream)
        return await upstream.ask(request.head + request.body)

    async def _spoil(self, mode: Mode, request: _Request, upstream: "_Upstream") -> bytes | None:
        self.spoiled += 1
        caught, released, delivered = self.caught, self._released, self._delivered
        if mode is Mode.CUT_BODY:
            upstream.writer.write(request.head + request.body[: len(request.body) // 2])
            await upstream.writer.drain()
            caught.set()
            return None
        if mode in (Mode.CUT_ANSWER, Mode.SWALLOW):
            await upstream.ask(request.head + request.body)
            caught.set()
            if mode is Mode.SWALLOW:
                await released.wait()
            return None
        caught.set()
        await released.wait()
        if mode is Mode.HANG:
            return None
        answer = await upstream.ask(request.head + request.body)
        delivered.set()
        return answer


@dataclass
class _Upstream:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int) -> "_Upstream":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=_STREAM_LIMIT))

    async def ask(self, request: bytes) -> bytes:
        self.writer.write(request)
        await self.writer.drain()
        answer = await _read_message(self.reader)
        if answer is None:
            raise ConnectionResetError("ClickHouse ended the connection")
        return b"".join(answer)


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Head and body of a request or an answer, as they came; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    if _CHUNKED.search(head):
        return head, await _read_chunks(reader)
    length = _LENGTH.search(head)
    return head, await reader.readexactly(int(length.group(1))) if length else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while True:
        size = await reader.readuntil(b"\r\n")
        parts.append(size)
        count = int(size.split(b";")[0], 16)
        parts.append(await reader.readexactly(count + 2))
        if count == 0:
            return b"".join(parts)


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
