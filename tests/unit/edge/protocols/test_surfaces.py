"""What all SDK surfaces share: holding while the log is away, limits, web pages, and the native calls beside them."""

import asyncio
import inspect
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.contract.api.errors import ErrorCode
from services.contract.api.sdk import FAMILIES as NAMES
from services.contract.api.sdk import GET_PATHS, LOST, POST_PATHS
from services.edge.protocols import taken
from services.edge.protocols.families import FAMILIES
from services.runtime.byte_budget import ByteBudget
from services.runtime.keys import KeyCache
from services.runtime.settings import EdgeSettings
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.unit.edge.protocols.conftest import KEY, OTHER_KEY, SdkEdge, sdk_edge_app

PAGE = "https://shop.example"
# Of each family: an address, and a body with one event that holds the key.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "segment": ("/v1/track", {"event": "e", "userId": "u", "messageId": "m", "writeKey": KEY}),
    "posthog": ("/e/", {"event": "e", "distinct_id": "u", "uuid": "m", "api_key": KEY}),
    "amplitude": ("/2/httpapi", {"api_key": KEY, "events": [{"event_type": "e", "user_id": "u", "insert_id": "m"}]}),
    "mixpanel": ("/track", {"event": "e", "properties": {"distinct_id": "u", "token": KEY, "$insert_id": "m"}}),
}
every_family = pytest.mark.parametrize("family", list(CALLS))


async def send(sdk: SdkEdge, family: str, **options: Any) -> Any:
    path, body = CALLS[family]
    return await sdk.client.post(path, content=json.dumps(body), **options)


def holding(hold_s: float, **more: Any) -> Callable[[Callable[..., Any]], Any]:
    return pytest.mark.parametrize("sdk", [{"hold_s": hold_s, **more}], indirect=True)


def test_every_family_has_its_calls() -> None:
    assert set(CALLS) == set(FAMILIES)
    assert set(FAMILIES) == set(NAMES) == set(POST_PATHS) == set(GET_PATHS)
    assert set(EdgeSettings.model_fields["edge_sdk_families"].default.split(",")) <= set(FAMILIES)


@pytest.mark.parametrize("family", list(NAMES))
def test_what_a_family_counts_as_lost_is_in_the_reference(family: str) -> None:
    sources = [inspect.getsource(sys.modules[FAMILIES[family].__module__]), inspect.getsource(taken)]
    counted = {kind for source in sources for kind in re.findall(r'lost\["(\w+)"\]', source)}
    assert "placeholder_key" in counted
    assert counted <= set(LOST[family])


# Holding.


@every_family
@holding(5.0)
async def test_a_request_waits_while_the_log_is_away(sdk: SdkEdge, family: str) -> None:
    """Some SDKs try three times within a second and then lose what they have."""
    sdk.log.available = False
    asyncio.get_running_loop().call_later(0.3, setattr, sdk.log, "available", True)
    assert (await send(sdk, family)).status_code == 200
    assert len(sdk.events) == 1
    assert sdk.held.held_bytes == 0


@every_family
@holding(0.3)
async def test_a_request_is_refused_when_the_log_stays_away(sdk: SdkEdge, family: str) -> None:
    sdk.log.available = False
    started = time.monotonic()
    response = await send(sdk, family)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert time.monotonic() - started > 0.15
    assert sdk.held.held_bytes == 0
    assert sdk.is_empty


@holding(5.0)
async def test_not_more_is_held_than_there_is_room_for(sdk: SdkEdge) -> None:
    sdk.log.available = False
    body = {"event": "e", "userId": "u", "properties": {"a": "x" * 400_000}, "writeKey": KEY}
    held = [asyncio.create_task(sdk.client.post("/v1/track", content=json.dumps(body))) for _ in range(2)]
    done, waiting = await asyncio.wait(held, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in done] == [503]
    sdk.log.available = True
    assert [(await task).status_code for task in waiting] == [200]
    assert sdk.held.held_bytes == 0


@holding(3.0, requests_s=1)
async def test_a_request_waits_for_its_turn_of_a_limit(sdk: SdkEdge) -> None:
    """The bucket holds two."""
    assert [(await send(sdk, "segment")).status_code for _ in range(3)] == [200, 200, 200]


@every_family
@holding(0.0, requests_s=1)
async def test_a_limit_is_said_so_that_nothing_is_lost(sdk: SdkEdge, family: str) -> None:
    """posthog-js loses what gets a 429; the others send it again."""
    responses = [await send(sdk, family) for _ in range(3)]
    assert responses[-1].status_code == LIMITED.get(family, 429)
    assert responses[-1].headers["retry-after"] == "1"


LIMITED = {"posthog": 503}


# Web pages.


@every_family
async def test_a_preflight_allows_whatever_is_asked_for(sdk: SdkEdge, family: str) -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-odd",
    }
    for path in (path.replace("*", "key") for path in (*POST_PATHS[family], *GET_PATHS[family])):
        response = await sdk.client.options(path, headers=asked)
        assert response.status_code == 204
        assert response.headers["access-control-allow-origin"] == PAGE
        assert response.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
        assert "POST" in response.headers["access-control-allow-methods"]
        assert response.headers["access-control-allow-credentials"] == "true"


@every_family
async def test_answers_and_refusals_may_be_read_by_pages(sdk: SdkEdge, family: str) -> None:
    path, _ = CALLS[family]
    for response in (
        await send(sdk, family, headers={"origin": PAGE}),
        await sdk.client.post(path, content=b"{", headers={"origin": PAGE}),
    ):
        assert response.headers["access-control-allow-origin"] == PAGE
        assert response.headers["vary"] == "Origin"


async def test_without_an_origin_there_are_no_such_headers(sdk: SdkEdge) -> None:
    assert "access-control-allow-origin" not in (await send(sdk, "segment")).headers


# Keys.


@every_family
async def test_two_keys_are_refused(sdk: SdkEdge, family: str) -> None:
    """A proxy might look at one, and the edge at the other."""
    path, body = CALLS[family]
    twice = [("authorization", "Basic aHI6"), ("authorization", f"Bearer {KEY}")]
    for response in (
        await sdk.client.post(path, content=json.dumps(body), headers=twice),
        await sdk.client.post(f"{path}?token={KEY}&token={OTHER_KEY}", content=json.dumps(body)),
    ):
        assert response.status_code == (400 if family == "amplitude" else 401)
    assert sdk.is_empty


# Beside the native calls.


async def test_native_calls_go_on(sdk: SdkEdge) -> None:
    event = {"event": "e", "distinct_id": "u"}
    headers = {"authorization": f"Bearer {KEY}"}
    answer = await sdk.client.post("/v1/analytics/track", json=event, headers=headers)
    assert answer.json() == {"ok": True, "accepted": 1}
    preflight = {"origin": PAGE, "access-control-request-method": "POST"}
    response = await sdk.client.options("/v1/analytics/track", headers=preflight)
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/v1/nothing", "/", "/v1", "/v1/batch//", "/V1/batch"])
async def test_other_addresses_are_nobodys(sdk: SdkEdge, path: str) -> None:
    response = await sdk.client.post(path, json={})
    assert (response.status_code, response.json()["error"]["code"]) == (404, ErrorCode.NOT_FOUND.code)


@pytest.mark.parametrize("sdk", [{"families": ()}], indirect=True)
@every_family
async def test_a_family_that_is_off_is_not_there(sdk: SdkEdge, family: str) -> None:
    assert (await send(sdk, family)).status_code == 404


async def test_a_body_that_is_too_large_is_413(sdk: SdkEdge) -> None:
    body = {"event": "e", "userId": "u", "properties": {"a": "x" * 3_000_000}, "writeKey": KEY}
    response = await sdk.client.post("/v1/track", content=json.dumps(body))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_a_large_body_is_received_when_it_is_done(sdk: SdkEdge) -> None:
    body = {"batch": [{"type": "track", "event": "e", "userId": "u", "properties": {"a": "x" * 300_000}}] * 4}
    response = await sdk.client.post("/v1/batch", content=json.dumps(body), auth=(KEY, ""))
    assert response.status_code == 200
    assert len({event["received_at"] for event in sdk.events}) == 4
    assert all(event["timestamp"] == event["received_at"] for event in sdk.events)


# Whatever comes.

_texts = st.sampled_from(["e", "", "$identify", "null", "a\0b", "\ud800", "2026-11-20T12:00:00Z", KEY])
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)),
    max_leaves=6,
)
_names = st.sampled_from(
    [
        "type",
        "event",
        "userId",
        "anonymousId",
        "messageId",
        "traits",
        "context",
        "properties",
        "groupId",
        "previousId",
        "timestamp",
        "sentAt",
        "distinct_id",
        "uuid",
        "$set",
        "$unset",
        "offset",
        "token",
        "time",
        "insert_id",
        "device_id",
        "user_id",
        "event_type",
        "user_properties",
        "groups",
        "$token",
        "$distinct_id",
    ]
)
_bodies = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda messages, field: json.dumps({"api_key": KEY, "writeKey": KEY, "token": KEY, field: messages}).encode(),
        st.one_of(_values, st.lists(st.dictionaries(_names, _values, max_size=8), max_size=3)),
        st.sampled_from(["batch", "events", "data"]),
    ),
    st.builds(lambda message: json.dumps(message).encode(), st.dictionaries(_names, _values, max_size=8)),
    st.builds(lambda text: b"data=" + text, st.binary(max_size=30)),
    st.builds(lambda text: b"client=%b&e=" % KEY.encode() + text, st.binary(max_size=30)),
)
FUZZED = {
    "segment": ("/v1/batch", "/v1/identify"),
    "posthog": ("/batch", "/i/v1/analytics/events"),
    "amplitude": ("/2/httpapi",),
    "mixpanel": ("/track", "/engage", "/groups"),
}
_DEEP = b'{"batch":[{"type":"track","event":"e","distinct_id":"u","properties":' + b"[" * 3000 + b"]" * 3000 + b"}]}"


@every_family
@given(body=_bodies)
@example(body=_DEEP)
@example(body=_DEEP.replace(b"batch", b"events"))
@example(body=_DEEP[10:-2])
@example(body=b"data=" + b"&" * 500)
async def test_nothing_that_comes_is_a_fault_of_the_server(family: str, body: bytes) -> None:
    log, store = MemoryEventLog(), MemoryKeyStore()
    store.put(KEY, "shop", "ingest")
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()
    app = sdk_edge_app(log, keys, ByteBudget(1 << 20))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        for path in FUZZED[family]:
            response = await client.post(path, content=body, headers={"authorization": f"Bearer {KEY}"})
            assert response.status_code in (200, 400, 401), (path, response.text)


@holding(3.0, requests_s=1)
async def test_who_waits_for_a_limit_keeps_nobody_from_a_turn(sdk: SdkEdge) -> None:
    """Larger bodies take turns. One whose key is in it, and whose project is over its limit, must not wait in its turn."""

    def body(key: str) -> bytes:
        return json.dumps({"event": "e", "userId": "u", "properties": {"a": "x" * 20_000}, "writeKey": key}).encode()

    waiting = [asyncio.create_task(sdk.client.post("/v1/track", content=body(KEY))) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in waiting) == 2
    started = time.monotonic()
    assert (await sdk.client.post("/v1/track", content=body(OTHER_KEY))).status_code == 200
    assert time.monotonic() - started < 0.5
    assert not all(task.done() for task in waiting)
    assert [(await task).status_code for task in waiting] == [200] * 3
