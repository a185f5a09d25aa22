"""The load generator: raw HTTP/1.1 over a few connections, in a process of its own: `python -m tests.bench.load`.

Closed (`rate` 0): each connection sends its next request when the last is answered. Open: requests are due at fixed
times, whatever the answers do, and a request's latency counts from the time at which it was due.
Standard input: a LoadPlan a line; standard output: one LoadReport a line. A plan is done when every request of it was
answered. Plans after the first differ in rate and length only: they go on with the bodies that were prepared for it.
"""

import asyncio
import re
import sys
import time
from array import array
from collections import Counter, deque
from contextlib import suppress
from typing import cast

import msgspec
import numpy as np
import uvloop
from msgspec import Struct

from tests.bench.events import BatchRequests, PackedRequests, RequestSource, SingleRequests, request_head

_REPORT_EVERY_S = 0.2
_TICK_S = 0.001
_LAST_ANSWERS_S = 30.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_ACCEPTED = re.compile(rb'"accepted":(\d+)')


class LoadPlan(Struct, kw_only=True):
    """`events` a request (0: one event by /track); `rate` in requests/s, 0 for closed; ends by time or by requests.
    `body`: a name of BODIES. A 200 that does not say how many events were accepted stands for all of them."""

    port: int
    path: str
    key: str
    events: int
    gzip: bool = False
    connections: int = 16
    rate: float = 0
    seconds: float = 3600
    requests: int = 1 << 60
    templates: int = 100
    body: str = "plain"


class LoadReport(Struct, kw_only=True):
    """Counts so far; `at` on the monotonic clock of the machine. `latencies_ms` by percentile, in the last report."""

    at: float
    requests: int
    events: int
    refused: int
    last: bool = False
    latencies_ms: dict[str, float] = {}
    statuses: dict[str, int] = {}


def source_of(plan: LoadPlan) -> RequestSource:
    head = request_head(plan.path, plan.key)
    if plan.events == 0:
        return SingleRequests(head)
    if plan.gzip:
        return PackedRequests(head, plan.events, plan.templates)
    return BatchRequests(head, plan.events, plan.templates, body=plan.body)


class Load:
    """All connections, and what came back over them."""

    def __init__(self, plan: LoadPlan, source: RequestSource) -> None:
        self.plan = plan
        self.source = source
        self.sent = self.answered = self.events = self.refused = 0
        self.statuses: Counter[str] = Counter()
        self.latencies = array("d")
        self.idle: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.ends_at = 0.0
        self.paced = plan.rate == 0
        self.done = asyncio.Event()

    def has_more(self) -> bool:
        return self.sent < self.plan.requests and time.monotonic() < self.ends_at

    def take(self, connection: "Connection") -> None:
        """A connection is free: give it the next request, if there is one."""
        if self.plan.rate:
            if self.due:
                self.sent += 1
                connection.send(self.source.next(), self.due.popleft())
            else:
                self.idle.append(connection)
        elif self.has_more():
            self.sent += 1
            connection.send(self.source.next(), time.monotonic())
        self._see_whether_done()

    def _see_whether_done(self) -> None:
        if self.paced and self.answered == self.sent and not self.due:
            self.done.set()

    def record(self, status: bytes, body: bytes, since: float) -> None:
        self.latencies.append(time.monotonic() - since)
        self.answered += 1
        if status == b"200":
            found = _ACCEPTED.search(body)
            self.events += int(found.group(1)) if found else self.plan.events
        else:
            self.refused += 1
            self.statuses[status.decode()] += 1

    def report(self, last: bool = False) -> LoadReport:
        report = LoadReport(
            at=time.monotonic(), requests=self.answered, events=self.events, refused=self.refused, last=last
        )
        if last and self.latencies:
            points = (50, 90, 99, 99.9)
            values = np.percentile(np.array(self.latencies), points) * 1000
            report.latencies_ms = {f"p{p:g}": round(float(v), 3) for p, v in zip(points, values, strict=True)}
            report.statuses = dict(self.statuses)
        return report

    async def run(self) -> None:
        """Until all is answered; reports to standard output on the way."""
        loop = asyncio.get_running_loop()
        connections = [Connection(self) for _ in range(self.plan.connections)]
        for connection in connections:
            await loop.create_connection(lambda c=connection: c, "127.0.0.1", self.plan.port)  # type: ignore[misc]
        self.ends_at = time.monotonic() + self.plan.seconds
        reporting = asyncio.create_task(self._report_often())
        for connection in connections:
            self.take(connection)
        if self.plan.rate:
            await self._pace()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), self.ends_at - time.monotonic() + _LAST_ANSWERS_S)
        reporting.cancel()
        for connection in connections:
            connection.close()
        _print(self.report(last=True))

    async def _pace(self) -> None:
        """Put requests into the queue when they are due; a free connection takes them at once."""
        started, put = time.monotonic(), 0
        while self.has_more() and put < self.plan.requests:
            while (due := started + put / self.plan.rate) <= time.monotonic():
                self.due.append(due)
                put += 1
                if self.idle:
                    self.take(self.idle.popleft())
            await asyncio.sleep(max(_TICK_S, due - time.monotonic()))
        self.paced = True
        self._see_whether_done()

    async def _report_often(self) -> None:
        while True:
            _print(self.report())
            await asyncio.sleep(_REPORT_EVERY_S)


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._since = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is not a subclass of it

    def send(self, request: bytes, since: float) -> None:
        assert self._transport is not None
        self._since = since
        self._transport.write(request)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        head_end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, head_end + 2) if head_end >= 0 else None
        if length is None or len(data) < head_end + 4 + int(length.group(1)):
            self._buffer = data
            return
        self._buffer = b""
        self._load.record(data[9:12], data[head_end + 4 :], self._since)
        self._load.take(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._load.answered < self._load.sent:
            self._load.statuses["connection lost"] += 1


def _print(report: LoadReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


async def _main() -> None:
    source: RequestSource | None = None
    for line in sys.stdin.buffer:  # blocks, while nothing is under way
        plan = msgspec.json.decode(line, type=LoadPlan)
        source = source or source_of(plan)
        await Load(plan, source).run()


if __name__ == "__main__":
    uvloop.run(_main())
