"""A wire between the engines of a cluster: it passes bytes on, is cut, or holds them back."""

import asyncio
import contextlib
from enum import Enum

from services.devstack.child_process import free_port

_PIECE = 256 * 1024


class State(Enum):
    WHOLE = "whole"
    CUT = "cut"  # connections end, and no new ones are taken
    HELD = "held"  # connections stay, and nothing goes through


class Wire:
    """Listens on `port` of 127.0.0.1 and passes on to `upstream_port`."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_port()
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.Task[None]] = set()

    async def set(self, state: State) -> None:
        if state is State.HELD:
            self._flows.clear()
        else:
            self._flows.set()
        if state is State.CUT:
            await self.stop()
        elif self._server is None:
            self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            ends.append(back)
            copies = [asyncio.create_task(self._copy(*way)) for way in ((reader, back), (there, writer))]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.gather(*copies, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the engine is away, or the wire is cut
        finally:
            self._open.discard(task)
            for end in ends:
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
