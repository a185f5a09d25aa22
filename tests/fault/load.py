"""A steady load over several connections and edges, with repeated keys of all four kinds, that gives nothing up:
a request is sent again, with the same keys, until it gets a 2xx."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
import msgspec
import numpy as np

from tests.fault.ledger import IN_BATCH, LATER, ORIGINAL, TWIN, Ledger
from tests.fault.processes import Service, until

_BASE = "/v1/analytics"
_TIMEOUT = aiohttp.ClientTimeout(total=12)
_RECENT = 20_000
# Producers do not wait for each other; but a test must not drown in what it has not got rid of.
_MAX_UNDER_WAY = 2500
LONG_AFTER_S = 600
_HELD_S = 60.0
_NAMES = ("signup", "view", "click", "buy")

Event = dict[str, Any]


@dataclass
class Refusals:
    """What clients saw instead of a 2xx."""

    by_status: dict[int, int] = field(default_factory=dict)
    connections: int = 0
    timeouts: int = 0
    longest_s: float = 0.0
    without_retry_after: int = 0
    unexpected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Earlier:
    """A project whose load is over, and its ledger."""

    project: str
    key: str
    ledger: Ledger


class Load:
    """`events_s` events a second, a tenth of them repeats. `run` until `stop`; then what is under way is finished.

    `repeats`: how many were sent; `repeats_long_after`: those whose key was accepted LONG_AFTER_S before.
    """

    def __init__(
        self,
        ledger: Ledger,
        http: aiohttp.ClientSession,
        edges: Sequence[Service],
        key: str,
        events_s: int,
        seed: int,
        earlier: Sequence[Earlier] = (),
    ) -> None:
        self._ledger = ledger
        self._http = http
        self._edges = edges
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._events_s = events_s
        self._random = random.Random(seed)
        self._numpy_random = np.random.default_rng(seed)
        self._stopping = asyncio.Event()
        self._held = False
        self._sent = 0
        self._too_old = 0
        self._earlier = earlier
        self.repeats = 0
        self.repeats_long_after = 0
        self.refusals = Refusals()
        self.under_way = 0
        self.waiting = 0

    async def run(self) -> None:
        """Sends what is due, whatever has become of what was sent before: an outage does not make producers slower."""
        started_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                ahead = self._sent / self._events_s - (time.monotonic() - started_at)
                await asyncio.sleep(max(ahead, 0))
                if self.under_way < _MAX_UNDER_WAY and not self._held:
                    group.create_task(self._send_something())
                    await asyncio.sleep(0)  # it counts what it sends before it waits for anything
                else:
                    await asyncio.sleep(0.05)

    def stop(self) -> None:
        self._stopping.set()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nothing new is sent meanwhile, and what was sent before has its 2xx."""
        self._held = True
        try:
            await until(lambda: self.under_way == 0, "all that was sent is accepted", _HELD_S)
            yield
        finally:
            self._held = False

    async def send_dated(self, dates: Sequence[datetime]) -> None:
        """A batch with one event at each of these times."""
        numbers = self._ledger.new(len(dates))
        events = [
            {**self._event(n, ORIGINAL), "timestamp": at.isoformat()} for n, at in zip(numbers, dates, strict=True)
        ]
        await self._post("/batch", {"events": events}, len(events))
        self._ledger.accept(numbers)

    async def send_too_old(self, date: datetime) -> None:
        """A batch of one event from before the time that is taken: 400 and a dead letter, the same at each retry."""
        self._too_old += 1
        event = {**self._event(0, ORIGINAL), "idempotency_key": f"old-{self._too_old}", "timestamp": date.isoformat()}
        while True:
            edge = self._random.choice(self._edges)
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.post(
                    f"{edge.url}{_BASE}/batch", json={"events": [event]}, headers=self._headers, timeout=_TIMEOUT
                ) as answer:
                    if answer.status == 400:
                        return
                    if answer.status != 503:
                        self.refusals.unexpected.append(f"{answer.status} for an event of {date}")
                        return
            await asyncio.sleep(0.5)

    async def _send_something(self) -> None:
        chance = self._random.random()
        if chance < 0.3:
            await self._send_single()
        elif chance < 0.37:
            await self._send_twins()
        elif chance < 0.4 and self._earlier:
            await self._send_again(self._random.choice(self._earlier))
        else:
            await self._send_batch()

    async def _send_single(self) -> None:
        number = self._ledger.new(1)[0]
        event = self._event(number, ORIGINAL)
        headers = {}
        if self._random.random() < 0.5:
            headers["idempotency-key"] = event.pop("idempotency_key")
        await self._post("/track", event, 1, headers)
        self._ledger.accept([number])

    async def _send_batch(self) -> None:
        numbers = self._ledger.new(self._random.randint(20, 200))
        events = [self._event(n, ORIGINAL) for n in numbers]
        repeats = len(events) // 20
        for number in self._random.sample(numbers, repeats):
            events.append(self._event(number, IN_BATCH))
        later = self._ledger.some_accepted(self._numpy_random, repeats, _RECENT)
        later += self._ledger.some_accepted(self._numpy_random, repeats, len(self._ledger))
        events += [self._event(n, LATER) for n in later]
        self.repeats += repeats
        self._count_repeats(self._ledger, later)
        if self._random.random() < 0.3:
            await self._post("/track", events, len(events))
        else:
            await self._post("/batch", {"events": events}, len(events))
        self._ledger.accept(numbers)

    async def _send_again(self, earlier: Earlier) -> None:
        """Events of an earlier project, whose keys were accepted long ago."""
        numbers = earlier.ledger.some_accepted(self._numpy_random, 50, len(earlier.ledger))
        self._count_repeats(earlier.ledger, numbers)
        body = {"events": [self._event(n, LATER) for n in numbers]}
        await self._post("/batch", body, len(numbers), {"authorization": f"Bearer {earlier.key}"})

    async def _send_twins(self) -> None:
        """The same keys to two edges at the same moment, with different contents: either may win."""
        numbers = list(self._ledger.new(self._random.randint(10, 50)))
        self._ledger.let_twins_win(numbers)
        self.repeats += len(numbers)
        order = self._random.sample(self._edges, min(2, len(self._edges)))
        async with asyncio.TaskGroup() as group:
            for variant, edge in zip((ORIGINAL, TWIN), (order[0], order[-1]), strict=True):
                events = [self._event(n, variant) for n in numbers]
                group.create_task(self._post("/batch", {"events": events}, len(events), first=edge))
        self._ledger.accept(numbers)

    def _count_repeats(self, ledger: Ledger, numbers: list[int]) -> None:
        self.repeats += len(numbers)
        self.repeats_long_after += ledger.count_accepted_before(numbers, time.time() - LONG_AFTER_S)

    def _event(self, number: int, variant: int) -> Event:
        event: Event = {
            "event": _NAMES[(number + variant) % len(_NAMES)],
            "distinct_id": f"person-{number % 1000}",
            "properties": {"n": number, "v": variant, "path": f"/page/{number % 97}", "filler": "x" * (number % 200)},
            "idempotency_key": f"key-{number}",
        }
        if number % 2:
            event["timestamp"] = time.time() - variant
        return event

    async def _post(
        self,
        path: str,
        body: object,
        count: int,
        headers: dict[str, str] | None = None,
        first: Service | None = None,
    ) -> None:
        """Returns after the 2xx, however long that takes."""
        encoded = msgspec.json.encode(body)
        self._sent += count
        self.under_way += 1
        edge = first or self._random.choice(self._edges)
        try:
            wait_s = await self._attempt(edge, path, encoded, count, headers or {})
            if wait_s is not None:
                await self._retry(wait_s, path, encoded, count, headers or {})
        finally:
            self.under_way -= 1

    async def _retry(self, wait_s: float, path: str, body: bytes, count: int, headers: dict[str, str]) -> None:
        refused_at = time.monotonic()
        self.waiting += 1
        try:
            while True:
                await asyncio.sleep(wait_s)
                again = await self._attempt(self._random.choice(self._edges), path, body, count, headers)
                if again is None:
                    break
                wait_s = again
        finally:
            self.waiting -= 1
        self.refusals.longest_s = max(self.refusals.longest_s, time.monotonic() - refused_at)

    async def _attempt(
        self, edge: Service, path: str, body: bytes, count: int, headers: dict[str, str]
    ) -> float | None:
        """None after a 2xx, else how long to wait."""
        try:
            async with self._http.post(
                f"{edge.url}{_BASE}{path}", data=body, headers={**self._headers, **headers}, timeout=_TIMEOUT
            ) as answer:
                text = await answer.read()
                if answer.status == 200:
                    self._check_accepted(text, count)
                    return None
                return self._refused(answer.status, answer.headers.get("retry-after"), text)
        except TimeoutError:
            self.refusals.timeouts += 1
        except aiohttp.ClientError:
            self.refusals.connections += 1
        return 0.1 + 0.3 * self._random.random()

    def _check_accepted(self, text: bytes, count: int) -> None:
        answer = msgspec.json.decode(text)
        if answer.get("ok") is not True or answer.get("accepted") != count:
            self.refusals.unexpected.append(f"200, but {text[:300]!r} for {count} events")

    def _refused(self, status: int, retry_after: str | None, text: bytes) -> float:
        self.refusals.by_status[status] = self.refusals.by_status.get(status, 0) + 1
        if status == 503 and retry_after is None:
            self.refusals.without_retry_after += 1
        if status != 503:
            self.refusals.unexpected.append(f"{status}: {text[:300]!r}")
            # It may be the test's own fault: do not flood the log with it.
            return 1.0
        return float(retry_after or 1) * (0.5 + self._random.random())
