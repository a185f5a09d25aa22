"""TLS before a server of plain HTTP, as a gateway has it: below a path, and with a certificate asked of clients."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from services.devstack.child_process import free_port
from tests.support.certificates import Pair

PATH = "/clickhouse"


class TlsProxy:
    """A context manager, with a thread of its own. `serve` shows another certificate, and ends what is connected."""

    def __init__(self, upstream_port: int, pair: Pair, clients: Path) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}{PATH}"
        self._upstream_port = upstream_port
        self._pair = pair
        self._clients = clients
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.serve(self._pair)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def serve(self, pair: Pair) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.both)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._clients)
        self._run(self._close())
        self._run(self._listen(context))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self, context: ssl.SSLContext) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", self.port, ssl=context)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._open.clear()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()
            return
        try:
            with contextlib.suppress(asyncio.CancelledError):  # asyncio's streams would report it
                await asyncio.gather(_copy(reader, back, _below_path), _copy(there, writer, lambda data: data))
        finally:
            for one in (writer, back):
                one.transport.abort()


def _below_path(data: bytes) -> bytes:
    """A request begins a piece. Whoever does not know the path gets no answer that it can use."""
    if not data.startswith((b"POST /", b"GET /")):
        return data
    method, _, target = data.partition(b" ")
    below = target.startswith(PATH.encode())
    return method + b" " + (target.removeprefix(PATH.encode()) if below else b"/not-below-the-path" + target)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(change(data))
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof() if writer.can_write_eof() else writer.close()
