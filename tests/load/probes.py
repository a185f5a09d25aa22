"""Single events of a project of their own, and how long after its 2xx a query shows each."""

import asyncio
import itertools
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Self

import httpx
from msgspec import Struct

from services.contract.api.endpoints import BASE_PATH

_RATE = 5.0
# Asking costs the engine some milliseconds: more often, the probes were a part of the load.
_ASK_EVERY_S = 0.5
# Where answers take longer than that, a row that waits for the next query would seem to come later than it does. A project has four
# turns at once.
_MOST_AT_ONCE = 4
_AGAIN_S = 0.25
_WINDOW = timedelta(minutes=3)
# Of one query's list.
_MOST_ASKED = 400
_TIMEOUT_S = 12.0


class Probe(Struct, array_like=True):
    """Moments on the monotonic clock: its 2xx, and the answer that showed it (None: none did)."""

    accepted: float
    visible: float | None

    @property
    def waited_s(self) -> float:
        return float("inf") if self.visible is None else self.visible - self.accepted


class Probes:
    """Sends and asks in a thread of its own while it is entered; what was sent is asked for until `found_all`."""

    def __init__(self, edges: list[str], queries: list[str], key: str) -> None:
        self._edges = itertools.cycle(edges)
        self._queries = itertools.cycle(queries)
        self._headers = {"authorization": f"Bearer {key}"}
        self._waiting: dict[str, float] = {}
        self._sending = threading.Event()
        self._asking = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._found: list[Probe] = []
        self._under_way = 0
        self.answers: list[float] = []

    def __enter__(self) -> Self:
        self._sending.set()
        self._asking.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sending.clear()
        self._asking.clear()
        self._thread.join()

    def stop_sending(self) -> None:
        self._sending.clear()

    @property
    def found_all(self) -> bool:
        return not self._waiting

    @property
    def all(self) -> list[Probe]:
        """In the order of their 2xx; those that no query has shown last."""
        return sorted(self._found, key=lambda p: p.accepted) + [Probe(at, None) for at in self._waiting.values()]

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=100)
        client = httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits, headers=self._headers)
        async with client as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(http, tasks))
            tasks.create_task(self._look(http, tasks))

    async def _send(self, http: httpx.AsyncClient, tasks: asyncio.TaskGroup) -> None:
        started = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, started + number / _RATE - time.monotonic()))
            if not self._sending.is_set():
                return
            tasks.create_task(self._send_one(http))

    async def _send_one(self, http: httpx.AsyncClient) -> None:
        name = uuid.uuid4().hex
        body = {"event": "probe", "distinct_id": name, "idempotency_key": name}
        while self._asking.is_set():
            try:
                answer = await http.post(f"{next(self._edges)}{BASE_PATH}/track", json=body)
                if answer.status_code == 200:
                    self._waiting[name] = time.monotonic()
                    return
            except httpx.HTTPError:
                pass  # an edge that was killed: the next one
            await asyncio.sleep(_AGAIN_S)

    async def _look(self, http: httpx.AsyncClient, tasks: asyncio.TaskGroup) -> None:
        while self._asking.is_set():
            await asyncio.sleep(_ASK_EVERY_S)
            names = list(self._waiting)[:_MOST_ASKED]
            if names and self._under_way < _MOST_AT_ONCE:
                tasks.create_task(self._look_for(http, names))

    async def _look_for(self, http: httpx.AsyncClient, names: list[str]) -> None:
        self._under_way += 1
        began = time.monotonic()
        try:
            shown = await self._ask(http, names)
        except httpx.HTTPError:
            return  # asked again
        finally:
            self._under_way -= 1
        now = time.monotonic()
        self.answers.append(now - began)
        # Another query may have found it before.
        self._found += [Probe(self._waiting.pop(name), now) for name in shown if name in self._waiting]

    async def _ask(self, http: httpx.AsyncClient, names: list[str]) -> list[str]:
        now = datetime.now(UTC)
        body = {
            "since": (now - _WINDOW).isoformat(),
            "until": (now + _WINDOW).isoformat(),
            "filter": {"event": "probe", "distinct_id": names},
        }
        answer = await http.post(f"{next(self._queries)}{BASE_PATH}/query/events", json=body)
        answer.raise_for_status()
        return [event["distinct_id"] for event in answer.json()["events"]]
