"""The edge over an event log and keys in memory."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from msgspec import Struct

from services.edge.app import compose
from services.edge.http.body import Bodies
from services.edge.http.direct import DirectCalls
from services.edge.http.quotas import Quotas
from services.edge.http.rate_limit import RateLimit
from services.edge.http.routes import EdgeRoutes
from services.edge.http.usage import Usage
from services.runtime.byte_budget import ByteBudget
from services.runtime.keys import KeyCache
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.fakes.usage import MemoryUsageStore

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
INGEST_KEY, QUERY_KEY, BOTH_KEY, OTHER_KEY = "hr_ingest", "hr_query", "hr_both", "hr_other_project"
MAX_BODY_BYTES = 2 * 1024 * 1024


class Edge(Struct):
    """`client` sends with the ingest key unless told otherwise."""

    log: MemoryEventLog
    store: MemoryKeyStore
    keys: KeyCache
    client: httpx.AsyncClient


def application(
    log: MemoryEventLog,
    keys: KeyCache,
    events_s: int = 0,
    rate_limit: RateLimit | None = None,
    quotas: Quotas | None = None,
) -> DirectCalls:
    rate_limit = rate_limit or RateLimit(events_s)
    bodies = Bodies(MAX_BODY_BYTES, ByteBudget(64 * 1024 * 1024), rate_limit)
    quotas = quotas or Quotas(MemoryUsageStore(), Usage(), 0, lambda: NOW)
    calls = EdgeRoutes(log, keys, lambda: NOW, rate_limit, bodies, quotas)

    async def ready() -> dict[str, bool]:
        return {"kafka": await log.is_ready(), "keys": keys.loaded_at is not None}

    return compose(calls, ready)


@pytest.fixture
async def edge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """`@pytest.mark.parametrize("edge", [n], indirect=True)` limits the rate to n events/s."""
    monkeypatch.setattr("services.runtime.keys._ASK_AGAIN_S", 0.0)
    log, store = MemoryEventLog(), MemoryKeyStore()
    store.put(INGEST_KEY, "shop", "ingest")
    store.put(QUERY_KEY, "shop", "query")
    store.put(BOTH_KEY, "shop", "ingest", "query")
    store.put(OTHER_KEY, "blog", "ingest")
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()
    app = application(log, keys, getattr(request, "param", 0))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://edge", headers={"Authorization": f"Bearer {INGEST_KEY}"}
    ) as client:
        yield Edge(log, store, keys, client)
