"""The edge with all SDK surfaces, over an event log and keys in memory."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from msgspec import Struct
from prometheus_client import REGISTRY

from services.edge.app import compose
from services.edge.http.body import Bodies
from services.edge.http.direct import DirectCalls
from services.edge.http.quotas import Quotas
from services.edge.http.rate_limit import RateLimit
from services.edge.http.routes import EdgeRoutes
from services.edge.http.sdk import SdkCalls
from services.edge.http.usage import Usage
from services.edge.protocols.families import FAMILIES, families_of
from services.edge.protocols.family import Options
from services.runtime.byte_budget import ByteBudget
from services.runtime.keys import KeyCache
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.fakes.usage import MemoryUsageStore

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
KEY, BOTH_KEY, QUERY_KEY, OTHER_KEY = "hr_ingest", "hr_both", "hr_query", "hr_other_project"
MAX_BODY_BYTES = 2 * 1024 * 1024


class SdkEdge(Struct):
    """`client` sends without any key."""

    log: MemoryEventLog
    store: MemoryKeyStore
    client: httpx.AsyncClient
    held: ByteBudget

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.event_lines]

    @property
    def identity(self) -> list[dict[str, Any]]:
        """Without what is empty."""
        lines = [json.loads(line) for line in self.log.identity_lines]
        return [{name: value for name, value in line.items() if value not in ("", {})} for line in lines]

    @property
    def letters(self) -> list[tuple[str, str]]:
        return [(letter.code, letter.payload) for letter in self.log.dead_letters]

    @property
    def is_empty(self) -> bool:
        return not (self.log.event_lines or self.log.identity_lines or self.log.dead_letters)


def sdk_edge_app(
    log: MemoryEventLog,
    keys: KeyCache,
    held: ByteBudget,
    *,
    options: Options | None = None,
    requests_s: int = 0,
    hold_s: float = 0.0,
    clock: Callable[[], datetime] = lambda: NOW,
    families: tuple[str, ...] = tuple(FAMILIES),
    quotas: Quotas | None = None,
) -> DirectCalls:
    rate_limit = RateLimit(0, requests_s)
    bodies = Bodies(MAX_BODY_BYTES, ByteBudget(64 * 1024 * 1024), rate_limit)
    quotas = quotas or Quotas(MemoryUsageStore(), Usage(), 0, clock)
    calls = EdgeRoutes(log, keys, clock, rate_limit, bodies, quotas)
    surfaces = families_of(",".join(families), options or Options())

    async def ready() -> dict[str, bool]:
        return {}

    return compose(
        calls,
        ready,
        in_front=lambda app: SdkCalls(
            app,
            surfaces,
            log=log,
            keys=keys,
            clock=calls.clock,
            rate_limit=rate_limit,
            bodies=bodies,
            held=held,
            hold_s=hold_s,
            quotas=quotas,
        ),
    )


@pytest.fixture
async def sdk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SdkEdge]:
    """`@pytest.mark.parametrize("sdk", [{...}], indirect=True)` gives `sdk_edge_app` other options."""
    monkeypatch.setattr("services.runtime.keys._ASK_AGAIN_S", 0.0)
    log, store = MemoryEventLog(), MemoryKeyStore()
    store.put(KEY, "shop", "ingest")
    store.put(BOTH_KEY, "shop", "ingest", "query")
    store.put(QUERY_KEY, "shop", "query")
    store.put(OTHER_KEY, "blog", "ingest")
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()
    held = ByteBudget(1024 * 1024)
    app = sdk_edge_app(log, keys, held, **getattr(request, "param", {}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        yield SdkEdge(log, store, client, held)


def lost(family: str, kind: str) -> float:
    return REGISTRY.get_sample_value("headrace_edge_sdk_lost_total", {"family": family, "kind": kind}) or 0.0
