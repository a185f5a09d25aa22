"""A connection in memory: what a client sends goes to our HTTP protocol, and what comes back is kept."""

import asyncio
import time
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from services.runtime.connections import NO_LIMITS, Connections
from services.runtime.http_protocol import BoundedHttpProtocol

# What a socket gives at a time; uvloop reads up to so much.
_READ_BYTES = 256_000
_HIGH_WATER_BYTES = 65536


class MemoryTransport(asyncio.Transport):
    """`reads`: whether the client takes what is written to it."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.written = bytearray()
        self.paused = False
        self.closed = False
        self.reads = True
        self.protocol: BoundedHttpProtocol | None = None
        self._unread = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self.address, 40000), "sockname": ("127.0.0.1", 8000)}.get(name, default)

    def get_protocol(self) -> Any:
        return self.protocol

    def write(self, data: Any) -> None:
        if self.closed:
            return
        self.written += data
        if not self.reads:
            self._unread += len(data)
            if self._unread > _HIGH_WATER_BYTES and self.protocol is not None:
                self.protocol.pause_writing()

    def take(self, size: int) -> None:
        """The client reads so much of what is written to it."""
        self._unread = max(0, self._unread - size)
        if self._unread < _HIGH_WATER_BYTES / 4 and self.protocol is not None:
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._unread

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self.closed and self.protocol is not None:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class MemoryConnection:
    """A client's side. `longest_step_s`: of the steps in which the server takes what was read, CPU time."""

    def __init__(self, app: Any, connections: Connections | None = None, address: str = "192.0.2.1") -> None:
        config = uvicorn.Config(
            app, ws="none", lifespan="off", access_log=False, log_config=None, date_header=False, server_header=False
        )
        config.load()
        self.transport = MemoryTransport(address)
        self.longest_step_s = 0.0
        self._protocol = BoundedHttpProtocol(
            connections=connections or Connections(NO_LIMITS),
            service="test",
            config=config,
            server_state=ServerState(),
            app_state={},
        )
        self.transport.protocol = self._protocol
        self._protocol.connection_made(self.transport)

    async def send(self, data: bytes, read_bytes: int = _READ_BYTES) -> None:
        """As far as the server takes it."""
        for at in range(0, len(data), read_bytes):
            while self.transport.paused and not self.transport.closed:
                await self.step()
            if self.transport.closed:
                return
            started = time.thread_time()
            self._protocol.data_received(data[at : at + read_bytes])
            self._clock(started)
            await self.step()

    def end(self) -> None:
        """The client has sent all, and says so."""
        if not self._protocol.eof_received():
            self.transport.close()

    def reset(self) -> None:
        """The client is gone."""
        self.transport.closed = True
        self._protocol.connection_lost(ConnectionResetError())

    async def step(self) -> None:
        """One step of the loop."""
        started = time.thread_time()
        await asyncio.sleep(0)
        self._clock(started)

    async def answers(self, within_s: float = 5) -> bytes:
        """All that was written once nothing more happens."""
        seen, quiet = -1, 0
        async with asyncio.timeout(within_s):
            while quiet < 50:
                await self.step()
                quiet = quiet + 1 if seen == len(self.transport.written) else 0
                seen = len(self.transport.written)
        return bytes(self.transport.written)

    async def answer(self, within_s: float) -> bytes:
        """All that was written, once there is something: also where a thread works on it first."""
        async with asyncio.timeout(within_s):
            while not self.transport.written:
                await asyncio.sleep(0.0005)
                await self.step()
        return await self.answers()

    async def exchange(self, data: bytes, read_bytes: int = _READ_BYTES) -> bytes:
        await self.send(data, read_bytes)
        return await self.answers()

    async def closed(self, within_s: float = 5) -> None:
        """Returns when the server has closed."""
        async with asyncio.timeout(within_s):
            while not self.transport.closed:  # noqa: ASYNC110 (nobody tells us)
                await asyncio.sleep(0.005)

    def _clock(self, started: float) -> None:
        self.longest_step_s = max(self.longest_step_s, time.thread_time() - started)
