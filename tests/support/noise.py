"""A project that sends whatever costs a service most for its bytes: `python -m tests.support.noise EDGE QUERY KEY SECONDS`.

EDGE and QUERY are addresses of the services themselves. Prints the number of answers by kind and status, as JSON.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx
import zstandard

from services.contract.api.endpoints import BASE_PATH

# What a client sends that shall cost the edge: a kilobyte that is a million events, and names that nobody knows.
_ZEROS = zstandard.compress(b'{"events":[' + b"0," * 1_000_000 + b"0]}")
_UNKNOWN = zstandard.compress(
    b'{"event":"e","distinct_id":"d",' + b",".join(b'"n%d":0' % n for n in range(500_000)) + b"}"
)
_TRAITS = json.dumps({"distinct_id": "d", "traits": {f"t{n}": "x" * 8 for n in range(20_000)}}).encode()
_HEAVY = {
    "since": "2024-01-01",
    "until": "2024-02-01",
    "interval": "hour",
    "series": [{"event": "e", "measure": "people"}] * 5,
}
_TITLE = "t" * 150


class Noise:
    """`answers`: how many by kind and status; 0 is a connection that was closed."""

    def __init__(self, edge: str, query: str, key: str) -> None:
        self._edge, self._query = edge, query
        self._headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))
        self._tasks: list[asyncio.Task[None]] = []
        self.answers: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Ten clients of each kind, until the time is over."""
        kinds = [self.zeros, self.unknown, self.traits, self.heads, self.slow, self.heavy, self.delete, self.unread]
        until = time.monotonic() + seconds
        for kind in kinds:
            self._tasks += [asyncio.create_task(self._again(kind, until)) for _ in range(10)]
        await asyncio.sleep(seconds)

    async def _again(self, kind: Callable[[], Awaitable[int]], until: float) -> None:
        while time.monotonic() < until:
            try:
                status = await kind()
            except (httpx.HTTPError, OSError, asyncio.IncompleteReadError):
                status = 0
            self.answers[f"{kind.__name__} {status}"] += 1
            if status in (0, 429, 503):
                await asyncio.sleep(0.05)

    async def zeros(self) -> int:
        return await self._post(self._edge, "/batch", _ZEROS, {"content-encoding": "zstd"})

    async def unknown(self) -> int:
        return await self._post(self._edge, "/track", _UNKNOWN, {"content-encoding": "zstd"})

    async def traits(self) -> int:
        return await self._post(self._edge, "/identify", _TRAITS, {})

    async def heads(self) -> int:
        """A megabyte of headers, without a key."""
        reader, writer = await self._connect(self._edge)
        try:
            writer.write(b"POST /v1/analytics/track HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(100_000)))
            return int((await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)).split()[1])
        finally:
            writer.close()

    async def slow(self) -> int:
        """Half a head, and nothing behind it."""
        reader, writer = await self._connect(self._edge)
        try:
            writer.write(b"POST /v1/analytics/track HTTP/1.1\r\na: ")
            return int((await asyncio.wait_for(reader.readuntil(b"\r\n"), 60)).split()[1])
        finally:
            writer.close()

    async def heavy(self) -> int:
        return await self._post(self._query, "/query/trends", json.dumps(_HEAVY).encode(), {})

    async def delete(self) -> int:
        body = json.dumps({"distinct_id": uuid.uuid4().hex}).encode()
        return await self._post(self._query, "/privacy/delete", body, {})

    async def unread(self) -> int:
        """A large dashboard, then the list of all, of which nothing is read."""
        queries = [{"type": "trends", "title": _TITLE, **_HEAVY}] * 50
        body = json.dumps({"name": "n", "queries": queries}).encode()
        status = await self._post(self._query, "/dashboard/create", body, {})
        _, writer = await self._connect(self._query)
        try:
            writer.write(
                f"GET {BASE_PATH}/dashboard/list HTTP/1.1\r\n"
                f"authorization: {self._headers['authorization']}\r\n\r\n".encode()
            )
            await asyncio.sleep(2)
        finally:
            writer.close()
        return status

    async def _connect(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        url = urlsplit(address)
        return await asyncio.open_connection(url.hostname, url.port, limit=1024)

    async def _post(self, address: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        answer = await self._http.post(
            f"{address}{BASE_PATH}{path}",
            content=body,
            headers={**self._headers, "content-type": "application/json", **headers},
        )
        return answer.status_code


def main(edge: str, query: str, key: str, seconds: str) -> None:
    async def run() -> None:
        noise = Noise(edge, query, key)
        await noise.run(float(seconds))
        print(json.dumps(noise.answers, sort_keys=True), flush=True)
        os._exit(0)  # whatever still waits for an answer is of no interest

    asyncio.run(run())


if __name__ == "__main__":
    main(*sys.argv[1:])
