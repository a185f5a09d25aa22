"""Probes: single events of a project of their own, and how long after its 2xx each is found by a query."""

import asyncio
import time
import uuid

import httpx
import numpy as np
from msgspec import Struct

from services.schema.roles import Role
from tests.bench.stack import PROBES, Pipeline

# Asking costs the engine some milliseconds: more often, the probes were a fifth of the load.
_ASK_EVERY_S = 0.1
_LAST_S = 30
# As any query has: older parts are not read.
_WINDOW_S = 120


class Probed(Struct):
    """`visible_ms`: from the answer to the query that finds the event, by percentile; `answer_ms`: the edge's own."""

    count: int
    lost: int
    visible_ms: dict[str, float]
    answer_ms: dict[str, float]


class Probes:
    """Sends at a rate for some time, and asks ClickHouse for what was acknowledged and not found yet."""

    def __init__(self, pipeline: Pipeline, port: int, rate: float, seconds: float) -> None:
        self._pipeline = pipeline
        self._url = f"http://127.0.0.1:{port}/v1/analytics/track"
        self._rate = rate
        self._seconds = seconds
        self._waiting: dict[str, float] = {}
        self._visible: list[float] = []
        self._answers: list[float] = []
        self._sending = True

    def run(self) -> Probed:
        return asyncio.run(self._run())

    async def _run(self) -> Probed:
        async with httpx.AsyncClient(timeout=60) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(client))
            await self._send(client)
        return Probed(
            count=len(self._visible),
            lost=len(self._waiting),
            visible_ms=_ms(self._visible),
            answer_ms=_ms(self._answers),
        )

    async def _send(self, client: httpx.AsyncClient) -> None:
        headers = {"authorization": f"Bearer {self._pipeline.probe_key}"}
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(self._rate * self._seconds)):
                await asyncio.sleep(max(0.0, started + number / self._rate - time.monotonic()))
                tasks.create_task(self._send_one(client, headers))
        self._sending = False

    async def _send_one(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        name = uuid.uuid4().hex
        sent = time.monotonic()
        answer = await client.post(self._url, json={"event": "probe", "distinct_id": name}, headers=headers)
        answer.raise_for_status()
        self._answers.append(time.monotonic() - sent)
        self._waiting[name] = time.monotonic()

    async def _look(self, client: httpx.AsyncClient) -> None:
        last_look = time.monotonic() + self._seconds + _LAST_S
        while (self._sending or self._waiting) and time.monotonic() < last_look:
            names = list(self._waiting)
            if names:
                found = await self._ask(client, names)
                now = time.monotonic()
                self._visible += [now - self._waiting.pop(name) for name in found]
            await asyncio.sleep(_ASK_EVERY_S)

    async def _ask(self, client: httpx.AsyncClient, names: list[str]) -> list[str]:
        wanted = ",".join(f"'{name}'" for name in names)  # our own hexadecimal digits
        sql = (
            f"SELECT DISTINCT distinct_id FROM events WHERE project_id = '{PROBES}' AND distinct_id IN ({wanted}) "
            f"AND timestamp > now() - INTERVAL {_WINDOW_S} SECOND"
        )
        server = self._pipeline.stack.clickhouse
        answer = await client.post(
            server.url,
            params={"database": self._pipeline.database},
            content=sql,
            auth=(Role.QUERY.value, server.password(Role.QUERY)),
        )
        answer.raise_for_status()
        return answer.text.split()


def _ms(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    values = np.percentile(np.array(seconds), (50, 99)) * 1000
    return {"p50": round(float(values[0]), 1), "p99": round(float(values[1]), 1)}
