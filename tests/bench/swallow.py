"""A sink that swallows: answers like ClickHouse, counts the rows of inserts and drops them; all else goes to the real
one. `python -m tests.bench.swallow`, with BENCH_PORT and HEADRACE_CLICKHOUSE_URL; `GET /counts` tells what came.
"""

import asyncio
import os
import time
from typing import cast

import httptools
import httpx
import msgspec
import uvloop
from msgspec import Struct


class Insert(Struct):
    """When an insert was whole, on the monotonic clock, and its rows."""

    at: float
    rows: int


INSERTS: list[Insert] = []


class Swallow(asyncio.Protocol):
    """One connection; httptools calls the on_* methods."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""
        self._head = b""
        self._lines = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, part: bytes) -> None:
        if len(self._head) < 4096:
            self._head += part[:4096]
        self._lines += part.count(b"\n")

    def on_message_complete(self) -> None:
        if self._url == b"/counts":
            self._answer(200, {}, msgspec.json.encode(INSERTS))
        elif (in_body := self._head.startswith(b"INSERT INTO")) or b"query=INSERT" in self._url:
            # In the body the statement is a line of its own.
            INSERTS.append(Insert(time.monotonic(), self._lines - in_body))
            self._answer(200, {"X-ClickHouse-Summary": "{}"}, b"")
        else:
            method = self._parser.get_method().decode()
            task = asyncio.create_task(asyncio.to_thread(self._forward, method, self._url.decode(), self._head))
            task.add_done_callback(lambda done: self._answer(*done.result()))

    @staticmethod
    def _forward(method: str, url: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        user = (os.environ["HEADRACE_CLICKHOUSE_USER"], os.environ["HEADRACE_CLICKHOUSE_PASSWORD"])
        answer = httpx.request(method, os.environ["HEADRACE_CLICKHOUSE_URL"] + url, content=body, auth=user, timeout=60)
        kept = {k: v for k, v in answer.headers.items() if k.startswith("x-clickhouse")}
        return answer.status_code, kept, answer.content

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 {status} OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Swallow, "127.0.0.1", int(os.environ["BENCH_PORT"]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
