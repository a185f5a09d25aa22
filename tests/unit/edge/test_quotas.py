"""Events a day: several edges share a quota, nobody waits for the store, and what is refused is neither lost nor counted."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.edge.http.quotas import Quotas
from services.edge.http.usage import Usage
from services.operations.dead_letters import StoredLetter, repaired_line
from services.runtime.byte_budget import ByteBudget
from services.runtime.clickhouse import StoreError
from services.runtime.keys import KeyCache
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.fakes.usage import MemoryUsageStore
from tests.unit.edge.conftest import INGEST_KEY, NOW, application
from tests.unit.edge.protocols.conftest import sdk_edge_app

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
EVENT = {"event": "e", "distinct_id": "d", "idempotency_key": "k-1"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def quotas_of(store: MemoryUsageStore, clock: Clock | None = None, default: int = 0) -> Quotas:
    return Quotas(store, Usage(), default, clock or Clock())


def refused(quotas: Quotas, project: str = "shop") -> ApiError:
    with pytest.raises(ApiError) as caught:
        quotas.check(project)
    assert caught.value.code is ErrorCode.QUOTA_EXCEEDED
    return caught.value


async def test_without_quotas_nothing_is_refused_and_usage_is_kept() -> None:
    store = MemoryUsageStore()
    quotas = quotas_of(store)
    quotas.usage.add("shop", 10**9, 5)
    await quotas.refresh()
    quotas.check("shop")
    assert store.events_of("shop") == 10**9


async def test_a_project_may_send_so_many_and_others_are_not_concerned() -> None:
    quotas = quotas_of(MemoryUsageStore(shop=100))
    await quotas.refresh()
    quotas.usage.add("shop", 99, 1)
    quotas.check("shop")
    quotas.usage.add("shop", 1, 1)
    refused(quotas)
    quotas.check("blog")


async def test_the_setting_counts_for_those_without_a_limit_of_their_own() -> None:
    store = MemoryUsageStore(large=1000, free=0)
    quotas = quotas_of(store, default=10)
    for project in ("shop", "large", "free"):
        quotas.usage.add(project, 10, 1)
    await quotas.refresh()
    refused(quotas)
    quotas.check("large")
    quotas.check("free")


async def test_edges_know_of_each_other() -> None:
    store = MemoryUsageStore(shop=100)
    first, second = quotas_of(store), quotas_of(store)
    for edge in (first, second):
        await edge.refresh()
    first.usage.add("shop", 60, 1)
    second.usage.add("shop", 50, 1)
    # Each by its own count: this is how much they may go beyond.
    first.check("shop")
    second.check("shop")
    await first.refresh()
    await second.refresh()
    refused(second)
    await first.refresh()
    refused(first)
    assert store.events_of("shop") == 110


async def test_what_is_written_is_the_day_s_count_of_each_process() -> None:
    store = MemoryUsageStore(shop=100)
    edge = quotas_of(store)
    for _ in range(3):
        edge.usage.add("shop", 2, 10)
        await edge.refresh()
    assert list(store.usage.values()) == [(6, 30)]
    again = quotas_of(store)  # the process has started again
    again.usage.add("shop", 1, 5)
    await again.refresh()
    assert sorted(store.usage.values()) == [(1, 5), (6, 30)]
    again.usage.add("shop", 93, 5)
    refused(again)


async def test_a_new_day_begins_at_nothing() -> None:
    store, clock = MemoryUsageStore(shop=100), Clock()
    quotas = quotas_of(store, clock)
    quotas.usage.add("shop", 100, 7)
    await quotas.refresh()
    assert refused(quotas).retry_after_s == 3600
    clock.now = MIDNIGHT - timedelta(seconds=90)
    assert refused(quotas).retry_after_s == 91
    clock.now = MIDNIGHT + timedelta(seconds=1)
    quotas.check("shop")
    quotas.usage.add("shop", 30, 1)  # before the first look of the day: counted for the old one
    await quotas.refresh()
    quotas.usage.add("shop", 99, 1)
    await quotas.refresh()
    quotas.check("shop")
    quotas.usage.add("shop", 1, 1)
    refused(quotas)
    await quotas.refresh()
    assert {day: events for (day, _, _), (events, _) in store.usage.items()} == {
        date(2026, 11, 20): 130,
        date(2026, 11, 21): 100,
    }


async def test_while_the_store_is_away_an_edge_goes_by_what_it_knows() -> None:
    store, clock = MemoryUsageStore(shop=100), Clock()
    quotas = quotas_of(store, clock)
    quotas.usage.add("shop", 50, 1)
    await quotas.refresh()
    store.available = False
    quotas.usage.add("shop", 49, 1)
    with pytest.raises(StoreError):
        await quotas.refresh()
    quotas.check("shop")
    quotas.usage.add("shop", 1, 1)
    refused(quotas)
    # A day ends meanwhile: its last word is written when the store is back.
    clock.now = MIDNIGHT + timedelta(minutes=1)
    with pytest.raises(StoreError):
        await quotas.refresh()
    quotas.usage.add("shop", 3, 1)
    store.available = True
    await quotas.refresh()
    assert {day.day: events for (day, _, _), (events, _) in store.usage.items()} == {20: 100, 21: 3}


async def test_a_raised_quota_counts_at_the_next_look() -> None:
    store = MemoryUsageStore(shop=10)
    quotas = quotas_of(store)
    quotas.usage.add("shop", 10, 1)
    await quotas.refresh()
    refused(quotas)
    store.limits = MemoryUsageStore(shop=11).limits
    await quotas.refresh()
    quotas.check("shop")
    store.limits = {}
    await quotas.refresh()
    quotas.usage.add("shop", 10**6, 1)
    quotas.check("shop")


async def test_the_metric_says_how_much_is_used() -> None:
    def ratio(project: str) -> float | None:
        return REGISTRY.get_sample_value("headrace_edge_quota_used_ratio", {"project": project})

    store = MemoryUsageStore(shop=100)
    first, second = quotas_of(store), quotas_of(store)
    first.usage.add("shop", 50, 1)
    await first.refresh()
    second.usage.add("shop", 35, 1)
    second.usage.add("blog", 35, 1)
    await second.refresh()
    assert ratio("shop") == 0.85
    assert ratio("blog") is None
    store.limits = {}
    await second.refresh()
    assert ratio("shop") is None


# Over HTTP.


async def edge_over_its_quota(events: int = 1) -> tuple[MemoryEventLog, KeyCache, Quotas]:
    quotas = quotas_of(MemoryUsageStore(shop=events))
    quotas.usage.add("shop", events, 1)
    await quotas.refresh()
    keys = MemoryKeyStore()
    keys.put(INGEST_KEY, "shop", "ingest")
    cache = KeyCache(keys, refresh_s=60)
    await cache.refresh()
    return MemoryEventLog(), cache, quotas


def client_of(app: Any) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {INGEST_KEY}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge", headers=headers)


@pytest.mark.parametrize(("call", "body"), [("track", EVENT), ("track", [EVENT]), ("batch", {"events": [EVENT, {}]})])
async def test_native_calls_get_429_and_nothing_is_kept(call: str, body: Any) -> None:
    log, keys, quotas = await edge_over_its_quota()
    async with client_of(application(log, keys, quotas=quotas)) as client:
        answer = await client.post(f"{BASE_PATH}/{call}", json=body)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "quota_exceeded"
    assert answer.headers["retry-after"] == "3600"
    assert not log.event_lines
    assert not log.dead_letters
    assert quotas.usage.events_of("shop") == 1


async def test_calls_about_people_are_taken() -> None:
    log, keys, quotas = await edge_over_its_quota()
    async with client_of(application(log, keys, quotas=quotas)) as client:
        for call, body in (
            ("identify", {"distinct_id": "a"}),
            ("alias", {"old_id": "a", "new_id": "b"}),
            ("group", {"distinct_id": "a", "group_type": "company", "group_key": "acme"}),
            ("batch", {"events": []}),
        ):
            assert (await client.post(f"{BASE_PATH}/{call}", json=body)).status_code == 200, call
    assert len(log.identity_lines) == 3


async def test_accepted_events_count_and_refused_ones_do_not() -> None:
    log, keys, quotas = await edge_over_its_quota(events=10)
    quotas.usage._used.clear()
    async with client_of(application(log, keys, quotas=quotas)) as client:
        await client.post(f"{BASE_PATH}/batch", json={"events": [EVENT, {"event": "e"}]})
    assert quotas.usage.events_of("shop") == 1


SDK_BODIES: dict[str, tuple[str, dict[str, str], Any, Any]] = {
    "segment": (
        "/v1/batch",
        {},
        {
            "writeKey": INGEST_KEY,
            "batch": [
                {"type": "track", "messageId": "m1", "userId": "u", "event": "e", "properties": {"n": 1}},
                {"type": "identify", "messageId": "m2", "userId": "u", "traits": {"plan": "pro"}},
            ],
        },
        {"success": True},
    ),
    "posthog": (
        "/batch/",
        {},
        {
            "api_key": INGEST_KEY,
            "batch": [{"event": "e", "uuid": "6a1f0a52-0000-4000-8000-000000000001", "distinct_id": "u"}],
        },
        {"status": 1},
    ),
    "amplitude": (
        "/2/httpapi",
        {},
        {"api_key": INGEST_KEY, "events": [{"event_type": "e", "user_id": "u12345", "insert_id": "i1"}]},
        None,
    ),
    "mixpanel": (
        "/track",
        {},
        [{"event": "e", "properties": {"token": INGEST_KEY, "distinct_id": "u", "$insert_id": "i1"}}],
        None,
    ),
}


@pytest.mark.parametrize("family", SDK_BODIES)
async def test_sdks_get_their_usual_answer_and_their_events_are_put_aside(family: str) -> None:
    path, headers, body, answered = SDK_BODIES[family]
    log, keys, quotas = await edge_over_its_quota()
    app = sdk_edge_app(log, keys, ByteBudget(1024 * 1024), quotas=quotas)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
        answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 200
    if answered is not None:
        assert answered.items() <= answer.json().items()
    assert not log.event_lines
    assert len(log.identity_lines) == (1 if family == "segment" else 0)
    (letter,) = log.dead_letters
    assert (letter.code, letter.project_id) == ("quota_exceeded", "shop")
    assert quotas.usage.events_of("shop") == 1

    # With room again, the same message: the letter that is put back is the same event.
    free = sdk_edge_app(log, keys, ByteBudget(1024 * 1024))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(free), base_url="http://edge") as client:
        await client.post(path, json=body, headers=headers)
    (line,) = (json.loads(line) for line in log.event_lines)
    event_id, put_back = repaired_line(StoredLetter(partition=0, offset=7, letter=letter), MIDNIGHT)
    assert event_id.hex() == line["event_id"].replace("-", "") == put_back.event_id
    assert put_back.event == "e"
    assert put_back.distinct_id == line["distinct_id"]
    assert json.loads(bytes(put_back.properties)) == line["properties"]
    assert put_back.received_at == NOW
