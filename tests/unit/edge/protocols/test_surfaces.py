"""What all SDK surfaces share: holding while the log is away, limits, web pages, and the native calls beside them."""

import inspect
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from services.contract.api.errors import ErrorCode
from services.contract.api.sdk import FAMILIES as NAMES
from services.contract.api.sdk import GET_PATHS, LOST, POST_PATHS
from services.edge.protocols import taken
from services.edge.protocols.families import FAMILIES
from services.runtime.settings import EdgeSettings
from tests.unit.edge.protocols.conftest import KEY, OTHER_KEY, SdkEdge

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


# Limits.


@every_family
@holding(0.0, requests_s=1)
async def test_a_limit_is_said_so_that_nothing_is_lost(sdk: SdkEdge, family: str) -> None:
    """posthog-js loses what gets a 429; the others send it again."""
    responses = [await send(sdk, family) for _ in range(3)]
    assert responses[-1].status_code == LIMITED.get(family, 429)
    assert responses[-1].headers["retry-after"] == "1"


LIMITED = {"posthog": 503}


# Times.


def with_time(family: str, time: object) -> dict[str, Any]:
    _, body = CALLS[family]
    if family == "amplitude":
        return {**body, "events": [{**event, "time": time} for event in body["events"]]}
    if family == "mixpanel":
        return {**body, "properties": {**body["properties"], "time": time}}
    return {**body, "timestamp": time}


@every_family
@pytest.mark.parametrize(
    ("time", "kept"),
    [
        ("1795165201", "2026-11-20T09:00:01Z"),
        ("1795165201.5", "2026-11-20T09:00:01.500000Z"),
        ("1795165201123", "2026-11-20T09:00:01.123000Z"),
        (1795165201123, "2026-11-20T09:00:01.123000Z"),
        ("2026-11-20T10:00:01+01:00", "2026-11-20T09:00:01Z"),
        ("", "2026-11-20T12:00:00Z"),
        (None, "2026-11-20T12:00:00Z"),
    ],
)
async def test_times_as_sdks_write_them(sdk: SdkEdge, family: str, time: object, kept: str) -> None:
    path, _ = CALLS[family]
    assert (await sdk.client.post(path, json=with_time(family, time))).status_code == 200
    assert [event["timestamp"] for event in sdk.events] == [kept]


@every_family
@pytest.mark.parametrize("key", ["null", "undefined"])
async def test_a_placeholder_of_an_id_makes_no_two_events_one(sdk: SdkEdge, family: str, key: str) -> None:
    """Nor the events beside it, that have neither an id nor an exact time."""
    path, body = CALLS[family]
    text = json.dumps(body).replace('"m"', json.dumps(key))
    for _ in range(2):
        assert (await sdk.client.post(path, content=text)).status_code == 200
    assert len({event["event_id"] for event in sdk.events}) == 2


@every_family
@pytest.mark.parametrize("time", ["soon", "-1795165201", "9" * 30, {}, [], True])
async def test_what_is_no_time_is_refused(sdk: SdkEdge, family: str, time: object) -> None:
    path, _ = CALLS[family]
    await sdk.client.post(path, json=with_time(family, time))
    assert not sdk.events
    assert [code for code, _ in sdk.letters] == ["invalid_timestamp"]


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


async def test_a_body_that_is_too_large_may_be_of_either_family(sdk: SdkEdge) -> None:
    """PostHog's and Amplitude's: the latter read `code` alone, and send less after a 413."""
    body = {"api_key": KEY, "events": [{"event_type": "x" * 3_000_000, "user_id": "u"}]}
    response = await sdk.client.post("/batch", content=json.dumps(body))
    answer = response.json()
    assert (response.status_code, answer["code"], answer["type"]) == (413, 413, "validation_error")
    assert answer["detail"] == answer["error"]
    assert response.headers["x-request-id"] == answer["request_id"]


async def test_a_large_body_is_received_when_it_is_done(sdk: SdkEdge) -> None:
    body = {"batch": [{"type": "track", "event": "e", "userId": "u", "properties": {"a": "x" * 300_000}}] * 4}
    response = await sdk.client.post("/v1/batch", content=json.dumps(body), auth=(KEY, ""))
    assert response.status_code == 200
    assert len({event["received_at"] for event in sdk.events}) == 4
    assert all(event["timestamp"] == event["received_at"] for event in sdk.events)
