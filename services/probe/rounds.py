"""One round after the other: send an event, ask until a query shows it, and say how long that took.

What is measured is what a producer and a reader see together: edge, Kafka, worker, ClickHouse and query service.
"""

import asyncio
import time
import uuid
from typing import Any

import httpx
from prometheus_client import Counter, Gauge

from services.contract.api.endpoints import BASE_PATH
from services.runtime.logs import get_logger

log = get_logger(__name__)
ROUNDS = Counter(
    "headrace_probe_rounds_total",
    "Probe events by what became of them: seen, unseen, refused; or which call was not answered.",
    ["result"],
)
FRESHNESS = Gauge(
    "headrace_probe_freshness_seconds",
    "From the send of the last probe event to the answer that showed it; of one that is waited for, its age.",
)
EVENT = "headrace_probe"
_SEND = f"{BASE_PATH}/track"
_ASK = f"{BASE_PATH}/query/events"
_ASK_EVERY_S = 0.25
# Around now: clocks differ.
_WINDOW_S = 3600
RESULTS = ("seen", "unseen", "refused", "send_unanswered", "query_unanswered")


class Probe:
    """Belongs to one event loop. `client` has the address and the key."""

    def __init__(self, client: httpx.AsyncClient, every_s: float, timeout_s: float) -> None:
        self._client = client
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._last_s = 0.0
        self._waiting_since: float | None = None
        self.rounds = 0
        FRESHNESS.set_function(self.freshness_s)
        for result in RESULTS:
            ROUNDS.labels(result)

    def freshness_s(self) -> float:
        """Grows while an event is waited for, so that a pipeline that stands still is seen before the timeout."""
        waited = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        return max(self._last_s, waited)

    async def run(self) -> None:
        """For ever."""
        while True:
            began = time.monotonic()
            result = await self.round()
            if result != "seen":
                log.warning("probe_failed", result=result)
            await asyncio.sleep(max(0.0, began + self._every_s - time.monotonic()))

    async def round(self) -> str:
        """One event; what became of it."""
        probe_id, began = uuid.uuid4().hex, time.monotonic()
        if self._waiting_since is None:  # else the one before was not seen: the wait goes on
            self._waiting_since = began
        result = await self._send_and_wait(probe_id, began)
        if result == "seen":
            self._last_s, self._waiting_since = time.monotonic() - began, None
        ROUNDS.labels(result).inc()
        self.rounds += 1
        return result

    async def _send_and_wait(self, probe_id: str, began: float) -> str:
        event = {
            "event": EVENT,
            "distinct_id": EVENT,
            "properties": {"probe_id": probe_id},
            "idempotency_key": probe_id,
        }
        sent = await self._call(_SEND, event)
        if sent is None:
            return "send_unanswered"
        if sent.status_code != 200:
            log.warning("probe_refused", call=_SEND, status=sent.status_code, answer=sent.text[:500])
            return "refused"
        return await self._wait(probe_id, began)

    async def _wait(self, probe_id: str, began: float) -> str:
        asked: httpx.Response | None = None
        while time.monotonic() - began < self._timeout_s:
            asked = await self._call(_ASK, _query_for(probe_id))
            if asked is None:
                return "query_unanswered"
            if asked.status_code == 200 and asked.json()["events"]:
                return "seen"
            await asyncio.sleep(_ASK_EVERY_S)
        if asked is not None and asked.status_code != 200:
            log.warning("probe_refused", call=_ASK, status=asked.status_code, answer=asked.text[:500])
        return "unseen"

    async def _call(self, path: str, body: dict[str, Any]) -> httpx.Response | None:
        """None where nobody answers."""
        try:
            return await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            log.warning("probe_unanswered", call=path, reason=repr(error))
            return None


def _query_for(probe_id: str) -> dict[str, Any]:
    now = time.time()
    return {
        "since": now - _WINDOW_S,
        "until": now + _WINDOW_S,
        "filter": {"event": EVENT, "properties.probe_id": probe_id},
        "limit": 1,
    }
