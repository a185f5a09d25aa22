"""What PostHog's messages become, by table, and what its SDKs are answered."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import brotli
import httpx
import pytest
import zstandard

from tests.unit.edge.protocols.conftest import BOTH_KEY, KEY, OTHER_KEY, SdkEdge, lost

EVENT: dict[str, Any] = {"event": "bought", "distinct_id": "u1", "uuid": "0190-1"}
PYTHON = {"$lib": "posthog-python"}


async def send(sdk: SdkEdge, *events: Any, path: str = "/batch/", **envelope: Any) -> httpx.Response:
    return await sdk.client.post(path, json={"api_key": KEY, "batch": events, **envelope})


async def sent_event(sdk: SdkEdge, event: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    response = await send(sdk, event, **envelope)
    assert (response.status_code, response.json()) == (200, {"status": 1})
    (kept,) = sdk.events
    return kept


@pytest.mark.parametrize(
    ("event", "distinct_id", "properties"),
    [
        (EVENT, "u1", {}),
        ({**EVENT, "properties": {"a": 1, "$lib": "web"}}, "u1", {"a": 1, "$lib": "web"}),
        ({"event": "bought", "properties": {"distinct_id": "u2", "token": KEY, "a": 1}}, "u2", {"a": 1}),
        ({**EVENT, "distinct_id": 42}, "42", {}),
        ({"event": "bought", "uuid": "1", "$distinct_id": "of rust", "properties": {"a": 1}}, "of rust", {"a": 1}),
        ({**EVENT, "$distinct_id": "other", "properties": []}, "u1", {}),
        (
            {**EVENT, "properties": {"$groups": {"company": "acme"}}},
            "u1",
            {"$groups": {"company": "acme"}},
        ),
        ({**EVENT, "session_id": "s", "window_id": "w"}, "u1", {"$session_id": "s", "$window_id": "w"}),
    ],
)
async def test_an_event(sdk: SdkEdge, event: dict[str, Any], distinct_id: str, properties: dict[str, Any]) -> None:
    kept = await sent_event(sdk, event)
    assert (kept["event"], kept["distinct_id"], kept["properties"]) == ("bought", distinct_id, properties)
    assert kept.get("idempotency_key") == event.get("uuid")


async def test_keys_and_traits_do_not_land_in_properties(sdk: SdkEdge) -> None:
    properties = {"token": KEY, "a": 1, "$set": {"email": "ada@shop.example"}, "$set_once": {"b": 2}, "$unset": ["c"]}
    kept = await sent_event(sdk, {**EVENT, "properties": properties})
    assert kept["properties"] == {"a": 1}
    (line,) = sdk.identity
    assert (line["kind"], line["distinct_id"]) == ("identify", "u1")
    assert (line["traits"], line["set_once"]) == ({"c": None, "email": "ada@shop.example"}, {"b": 2})


@pytest.mark.parametrize("headers", [{}, {"authorization": f"Bearer {KEY}"}])
async def test_an_apps_own_token_is_a_property(sdk: SdkEdge, headers: dict[str, str]) -> None:
    """Only the project key itself is none."""
    events = [{**EVENT, "uuid": one, "properties": {"token": one, "api_key": KEY}} for one in ("a", "b")]
    body = {"batch": events, **({} if headers else {"api_key": KEY})}
    assert (await sdk.client.post("/batch/", json=body, headers=headers)).status_code == 200
    assert [event["properties"] for event in sdk.events] == [{"token": "a"}, {"token": "b"}]


async def test_an_event_of_another_project_does_not_land_in_this_one(sdk: SdkEdge) -> None:
    events = [{**EVENT, "uuid": key, "properties": {"token": key}} for key in (KEY, OTHER_KEY, KEY)]
    assert (await sdk.client.post("/e/", json=events)).status_code == 200
    assert [event["idempotency_key"] for event in sdk.events] == [KEY, KEY]
    assert [(code, OTHER_KEY in payload) for code, payload in sdk.letters] == [("invalid_field", True)]


async def test_traits_may_stand_beside_the_properties(sdk: SdkEdge) -> None:
    await sent_event(sdk, {**EVENT, "$set": {"a": 1}, "$set_once": {"b": 2}})
    assert (sdk.identity[0]["traits"], sdk.identity[0]["set_once"]) == ({"a": 1}, {"b": 2})


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"event": "$identify", "distinct_id": "u1", "properties": {"$anon_distinct_id": "a1", "$set": {"a": 1}}},
            {"kind": "link", "distinct_id": "u1", "old_id": "a1", "user_id": "u1", "traits": {"a": 1}},
        ),
        (
            {"event": "$identify", "distinct_id": "u1", "properties": {}, "$set": {"a": 1}},
            {"kind": "identify", "distinct_id": "u1", "traits": {"a": 1}},
        ),
        (
            {"event": "$set", "distinct_id": "u1", "properties": {"$set": {"a": 1}, "$unset": ["b"]}},
            {"kind": "identify", "distinct_id": "u1", "traits": {"a": 1, "b": None}},
        ),
        # Most say alias(id, earlier id); the Python SDK says it the other way round.
        (
            {"event": "$create_alias", "distinct_id": "u1", "properties": {"alias": "a1", "$lib": "posthog-node"}},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            {"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1", **PYTHON}},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            {"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1", "$lib": "posthog-dotnet"}},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        # PHP writes an object that has nothing in it as an array.
        (
            {"event": "$identify", "distinct_id": "u1", "properties": {"$lib": "posthog-php"}, "$set": []},
            {"kind": "identify", "distinct_id": "u1", "traits": None},
        ),
        (
            {
                "event": "$groupidentify",
                "distinct_id": "$company_acme",
                "properties": {"$group_type": "company", "$group_key": "acme", "$group_set": []},
            },
            {"kind": "group", "group_type": "company", "group_key": "acme", "traits": None},
        ),
        (
            {"event": "$merge_dangerously", "distinct_id": "u1", "properties": {"alias": "a1", **PYTHON}},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            {
                "event": "$groupidentify",
                "distinct_id": "$company_acme",
                "properties": {"$group_type": "company", "$group_key": "acme", "$group_set": {"seats": 4}},
            },
            {"kind": "group", "group_type": "company", "group_key": "acme", "traits": {"seats": 4}},
        ),
    ],
)
async def test_who_is_who(sdk: SdkEdge, event: dict[str, Any], line: dict[str, Any]) -> None:
    assert (await send(sdk, event)).status_code == 200
    (kept,) = sdk.identity
    assert {name: kept.get(name) for name in line} == line
    assert not sdk.events


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("$create_alias", {"alias": "a1"}),
        ("$merge_dangerously", {"alias": "a1"}),
        ("$groupidentify", {"$group_type": "company", "$group_key": "acme", "$group_set": {"seats": 4}}),
    ],
)
async def test_traits_beside_an_alias_or_a_group(sdk: SdkEdge, kind: str, properties: dict[str, Any]) -> None:
    """posthog-js says with the first event that makes a person where that one came from, and never again."""
    traits = {"$set": {"a": 1}, "$set_once": {"$initial_referrer": "r"}}
    for event in (
        {"event": kind, "distinct_id": "u1", "properties": properties, **traits},
        {"event": kind, "distinct_id": "u1", "properties": {**properties, **traits}},
    ):
        sdk.log.clear()
        assert (await send(sdk, event)).status_code == 200
        about, person = sdk.identity
        assert (about["kind"], about.get("traits")) in [("alias", None), ("group", {"seats": 4})]
        assert (person["kind"], person["distinct_id"], person["traits"]) == ("identify", "u1", {"a": 1})
        assert person["set_once"] == {"$initial_referrer": "r"}


@pytest.mark.parametrize("prior", ["null", "$posthog_cookieless"])
async def test_of_a_placeholder_the_traits_are_taken_and_the_link_is_not(sdk: SdkEdge, prior: str) -> None:
    event = {"event": "$identify", "distinct_id": "u1", "properties": {"$anon_distinct_id": prior, "$set": {"a": 1}}}
    assert (await send(sdk, event)).status_code == 200
    assert (sdk.identity[0]["kind"], sdk.identity[0]["distinct_id"]) == ("identify", "u1")
    assert [code for code, _ in sdk.letters] == ["illegal_id"]


async def test_visitors_without_cookies_are_merged_with_nobody(sdk: SdkEdge) -> None:
    """They all have one id: the second alias would make one person of two."""
    for user in ("u1", "u2"):
        event = {"event": "$create_alias", "distinct_id": "$posthog_cookieless", "properties": {"alias": user}}
        assert (await send(sdk, event)).status_code == 400
    assert not sdk.identity
    assert [code for code, _ in sdk.letters] == ["illegal_id"] * 2


@pytest.mark.parametrize(
    ("fields", "sent_at", "time"),
    [
        ({}, None, "2026-11-20T12:00:00Z"),
        ({"timestamp": "2026-11-20T11:00:00Z"}, None, "2026-11-20T11:00:00Z"),
        ({"offset": 1500}, None, "2026-11-20T11:59:58.500000Z"),
        ({"offset": -5}, None, "2026-11-20T12:00:00Z"),
        ({"timestamp": "2026-11-20T13:59:00Z"}, "2026-11-20T14:00:00Z", "2026-11-20T11:59:00Z"),
        # posthog-node keeps the time of the first try.
        ({"timestamp": "2026-11-20T09:00:00Z"}, "2026-11-20T09:00:01Z", "2026-11-20T09:00:00Z"),
        ({"timestamp": "2026-11-20T09:00:00Z", "properties": PYTHON}, "2026-11-20T09:00:01Z", "2026-11-20T11:59:59Z"),
    ],
)
async def test_times(sdk: SdkEdge, fields: dict[str, Any], sent_at: str | None, time: str) -> None:
    assert (await sent_event(sdk, {**EVENT, **fields}, sent_at=sent_at))["timestamp"] == time


@pytest.mark.parametrize(
    ("sent_at", "timestamp"),
    [("2026-11-20T14:00:00+00:00", "2026-11-20T13:59:00+00:00"), ("2026-11-20T09:00:01+00:00", "2026-11-20T08:59:01Z")],
)
@pytest.mark.parametrize("bad", [[], [{"event": "e", "colour": 1}]])
async def test_the_clock_of_an_older_sdk_for_python(
    sdk: SdkEdge, sent_at: str, timestamp: str, bad: list[dict[str, Any]]
) -> None:
    """It says when it sent the request under another name."""
    event = {**EVENT, "timestamp": timestamp, "properties": PYTHON}
    assert (await send(sdk, event, *bad, historical_migration=False, sentAt=sent_at)).status_code == 200
    assert sdk.events[0]["timestamp"] == "2026-11-20T11:59:00Z"


@pytest.mark.parametrize(
    ("library", "time"),
    [
        ("web", "2026-11-20T11:59:59Z"),
        ("posthog-ios", "2026-11-20T11:59:59Z"),
        ("posthog-flutter", "2026-11-20T11:59:59Z"),
        ("posthog-node", "2026-11-20T09:00:00Z"),
    ],
)
async def test_a_clock_that_is_behind(sdk: SdkEdge, library: str, time: str) -> None:
    """A property that says `web` says nothing of the SDK."""
    event = {**EVENT, "timestamp": "2026-11-20T09:00:00Z", "properties": {"$lib": library, "platform": "web"}}
    assert (await sent_event(sdk, event, sent_at="2026-11-20T09:00:01Z"))["timestamp"] == time


@pytest.mark.parametrize(
    ("address", "sent", "time"),
    [
        ("/i/v1/analytics/events", "2026-11-20T09:00:01.000Z", "2026-11-20T11:59:59Z"),
        ("/i/v1/analytics/events", "2026-11-20T14:00:00+00:00", "2026-11-20T07:00:00Z"),
        ("/i/v1/analytics/events", "2026-11-20T11:59:30Z", "2026-11-20T09:00:00Z"),
        ("/i/v1/analytics/events", "soon", "2026-11-20T09:00:00Z"),
        ("/i/v1/analytics/events", "", "2026-11-20T09:00:00Z"),
        ("/e/?ip=1&_=1795165201000&ver=1.300.0&retry_count=1", "", "2026-11-20T11:59:59Z"),
        ("/e/?_=1795165201000&ver=1.39.0", "", "2026-11-20T09:00:00Z"),
        ("/e/?_=1795165201000", "", "2026-11-20T09:00:00Z"),
        ("/e/?ip=1&sent_at=1795165201000", "", "2026-11-20T11:59:59Z"),
        ("/e/?_=1795165201&ver=1.300.0", "", "2026-11-20T09:00:00Z"),
    ],
)
async def test_a_try_says_when_it_was_sent(sdk: SdkEdge, address: str, sent: str, time: str) -> None:
    """Capture v1 in a header, and posthog-js in the address, in milliseconds; old ones keep that when they try again."""
    event = {**EVENT, "timestamp": "2026-11-20T09:00:00Z"}
    headers = {**V1_HEADERS, "posthog-request-timestamp": sent}
    assert (await sdk.client.post(address, json={"batch": [event]}, headers=headers)).status_code == 200
    assert sdk.events[0]["timestamp"] == time
    assert sdk.events[0].get("original_timestamp") == (None if time == event["timestamp"] else event["timestamp"])


@pytest.mark.parametrize(("message_id", "stored"), [("m1", 1), (7, 1), (None, 2), ("", 2), ({}, 2), ("null", 2)])
async def test_an_event_of_ruby_that_is_sent_again_is_the_same_one(
    sdk: SdkEdge, message_id: object, stored: int
) -> None:
    """It writes three digits of a second, also where there are none, and gives its id another name."""
    ruby = {"timestamp": "2026-11-20T11:00:00.000Z", "library": "posthog-ruby", "messageId": message_id}
    event = {**{name: value for name, value in EVENT.items() if name != "uuid"}, **ruby}
    for _ in range(2):
        await sdk.client.post("/batch/", json={"api_key": KEY, "batch": [event]})
    assert len(sdk.events) == 2
    assert len({kept["event_id"] for kept in sdk.events}) == stored


@pytest.mark.parametrize(
    ("query", "offset", "captured", "time"),
    [
        # The first try, and one ten minutes later, of a clock that is three hours behind.
        ("?_=1795165201500&ver=1.300.0", 1490, 1795165200.0, "2026-11-20T11:59:58.500000Z"),
        ("?_=1795165801500&ver=1.300.0&retry_count=2", 1490, 1795165200.0, "2026-11-20T11:49:58.500000Z"),
        ("?_=1795165801500&ver=1.300.0&retry_count=2", 1490, None, "2026-11-20T11:59:58.510000Z"),
        # An app that says when it happened.
        ("?_=1795165201500&ver=1.300.0", 86_400_000, 1795165200.0, "2026-11-19T12:00:00Z"),
        # What old ones say may be of the first try; and what is no such time.
        ("?_=1795165801500&ver=1.39.0", 1490, 1795165200.0, "2026-11-20T11:59:58.510000Z"),
        ("?_=1795165801500&ver=1.300.0", 1490, 0, "2026-11-20T11:59:58.510000Z"),
        ("?_=1795165801500&ver=1.300.0", 1490, "noon", "2026-11-20T11:59:58.510000Z"),
        ("?_=1795165801500&ver=1.300.0", 1490, 1795169999.0, "2026-11-20T11:59:58.510000Z"),
    ],
)
async def test_an_offset_is_that_of_the_first_try(
    sdk: SdkEdge, query: str, offset: int, captured: object, time: str
) -> None:
    properties = {"token": KEY, **({} if captured is None else {"$time": captured})}
    event = {**EVENT, "offset": offset, "properties": properties}
    assert (await sdk.client.post(f"/e/{query}", json=[event])).status_code == 200
    assert sdk.events[0]["timestamp"] == time


async def test_an_event_that_is_sent_again_is_the_same_one(sdk: SdkEdge) -> None:
    for _ in range(2):
        await send(sdk, {**EVENT, "properties": {"$set": {"a": 1}}})
    assert len({event["event_id"] for event in sdk.events}) == 1
    assert len({line["event_id"] for line in sdk.identity}) == 1


@pytest.mark.parametrize("groups", [[], {"company": "acme"}])
async def test_what_php_says_twice_is_not_lost(sdk: SdkEdge, groups: Any) -> None:
    before = lost("posthog", "unknown_field")
    library = {"library": "posthog-php", "library_version": "3.6.0", "library_consumer": "LibCurl"}
    event = {"event": "bought", "distinct_id": "u1", "type": "capture", **library, "groups": [], "$groups": groups}
    kept = await sent_event(sdk, {**event, "timestamp": "2026-11-20T11:00:00+00:00", "properties": {"$groups": groups}})
    assert kept["properties"] == {"$groups": groups}
    assert lost("posthog", "unknown_field") == before


ONE = {"event": "bought", "properties": {"distinct_id": "u1", "token": KEY}, "uuid": "1"}
AS_BASE64 = base64.b64encode(json.dumps(ONE).encode()).decode()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(ONE),
        json.dumps([ONE, {**ONE, "uuid": "2"}]),
        json.dumps({"api_key": KEY, **EVENT}),
        json.dumps({"token": KEY, "data": [EVENT]}),
        "data=" + quote(AS_BASE64),
        "data=" + quote(json.dumps(ONE)),
        gzip.compress(json.dumps(ONE).encode(), mtime=0),
    ],
)
@pytest.mark.parametrize("path", ["/e/", "/i/v0/e/", "/capture/", "/batch"])
async def test_the_shapes_of_bodies(sdk: SdkEdge, body: Any, path: str) -> None:
    response = await sdk.client.post(path, content=body, headers={"content-type": "text/plain"})
    assert (response.status_code, response.json()) == (200, {"status": 1})
    assert {event["event"] for event in sdk.events} == {"bought"}


@pytest.mark.parametrize("body", ["data=%%%", "data=", "data=e30", "nothing"])
async def test_bodies_that_are_nothing_are_400(sdk: SdkEdge, body: str) -> None:
    response = await sdk.client.post(f"/e/?api_key={KEY}", content=body)
    assert response.status_code == 400
    assert response.json()["detail"] == response.json()["error"]["message"]
    assert not sdk.events


async def test_recordings_are_counted_and_dropped(sdk: SdkEdge) -> None:
    before = lost("posthog", "recording")
    assert (await send(sdk, {**EVENT, "event": "$snapshot"})).status_code == 200
    assert (await sdk.client.post(f"/s/?api_key={KEY}", content=b"{}")).status_code == 200
    assert lost("posthog", "recording") - before == 2
    assert sdk.is_empty


async def test_a_recording_has_the_key_where_the_browser_sdk_writes_it(sdk: SdkEdge) -> None:
    """Its first one may come before it has read that there are none."""
    before = lost("posthog", "recording")
    event = {"event": "$snapshot", "distinct_id": "u", "properties": {"token": KEY, "$snapshot_data": [{"type": 4}]}}
    for body in (event, [event], {"api_key": KEY, "batch": [event]}):
        packed = gzip.compress(json.dumps(body).encode())
        assert (await sdk.client.post("/s/?compression=gzip-js", content=packed)).status_code == 200
    assert lost("posthog", "recording") - before == 3
    assert sdk.is_empty


async def test_more_events_than_are_taken_are_sent_in_parts(sdk: SdkEdge) -> None:
    """Node's SDK halves what gets a 413."""
    response = await send(sdk, *({**EVENT, "uuid": str(number)} for number in range(5001)))
    assert response.status_code == 413
    assert sdk.is_empty


# Capture v1.


@pytest.mark.parametrize("path", ["/i/v1/analytics/events", "/i/v1/ai/events"])
async def test_capture_v1_says_what_became_of_each_event(sdk: SdkEdge, path: str) -> None:
    events = [{**EVENT, "uuid": "1", "options": {}}, {"event": "bought", "uuid": "2"}, {**EVENT, "uuid": "3"}]
    headers = {"authorization": f"Bearer {BOTH_KEY}", "posthog-sdk-info": "posthog-python/7.9"}
    response = await sdk.client.post(path, json={"batch": events}, headers=headers)
    assert response.status_code == 200
    assert {uuid: one["result"] for uuid, one in response.json()["results"].items()} == {
        "1": "ok",
        "2": "drop",
        "3": "ok",
    }
    assert sdk.events[0]["properties"] == {"$lib": "posthog-python", "$lib_version": "7.9"}
    assert len(sdk.letters) == 1


V1_HEADERS = {"authorization": f"Bearer {KEY}", "posthog-sdk-info": "posthog-go/1.20.0"}
# As github.com/posthog/posthog-go writes it with CaptureModeAnalyticsV1, and since version 2 always.
V1_GO = b"""{"created_at":"2026-11-20T11:59:59Z","batch":[
{"event":"seen","uuid":"0190A1B2-C3D4-7E5F-8123-456789ABCDEF","distinct_id":"device",
"timestamp":"2026-11-20T11:59:58.123456789Z","session_id":"s1","options":{"process_person_profile":false},
"properties":{"$geoip_disable":true,"$is_server":true,"n":9007199254740993,"tiny":1e-9}},
{"event":"$identify","uuid":"0190a1b2-c3d4-7e5f-8123-456789abcdf0","distinct_id":"ada",
"timestamp":"2026-11-20T11:59:59Z","options":{},"properties":{"$geoip_disable":true,"$set":{"plan":"pro"}}},
{"event":"$create_alias","uuid":"0190a1b2-c3d4-7e5f-8123-456789abcdf1","distinct_id":"ada",
"timestamp":"2026-11-20T11:59:59Z","options":{},"properties":{"alias":"old"}},
{"event":"$groupidentify","uuid":"0190a1b2-c3d4-7e5f-8123-456789abcdf2","distinct_id":"$company_acme",
"timestamp":"2026-11-20T11:59:59Z","options":{},
"properties":{"$group_type":"company","$group_key":"acme","$group_set":{"seats":4}}}]}"""


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.compress),
        ("br", brotli.compress),
        ("br", bytes),
    ],
)
async def test_capture_v1_of_go(sdk: SdkEdge, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    headers = {**V1_HEADERS, **({"content-encoding": encoding} if encoding else {})}
    for _ in range(2):
        response = await sdk.client.post("/i/v1/analytics/events", content=compress(V1_GO), headers=headers)
        assert response.status_code == 200
    assert len({event["event_id"] for event in sdk.events}) == 1
    event = sdk.events[0]
    assert (event["event"], event["distinct_id"], event["timestamp"]) == (
        "seen",
        "device",
        "2026-11-20T11:59:58.123456Z",
    )
    assert event["properties"] == {
        "$geoip_disable": True,
        "$is_server": True,
        "n": 9007199254740993,
        "tiny": 1e-9,
        "$session_id": "s1",
        "$lib": "posthog-go",
        "$lib_version": "1.20.0",
    }
    of_whom = [(one["kind"], one.get("distinct_id"), one.get("old_id"), one.get("traits")) for one in sdk.identity[:3]]
    assert of_whom == [
        ("identify", "ada", None, {"plan": "pro"}),
        ("alias", "ada", "old", None),
        ("group", None, None, {"seats": 4}),
    ]
    assert len({line["event_id"] for line in sdk.identity}) == 3


@pytest.mark.parametrize(
    "uuid",
    [
        "0190A1B2-C3D4-7E5F-8123-456789ABCDEF",
        "0190a1b2c3d47e5f8123456789abcdef",
        "{0190a1b2-c3d4-7e5f-8123-456789abcdef}",
        "urn:uuid:0190a1b2-c3d4-7e5f-8123-456789abcdef",
    ],
)
async def test_capture_v1_answers_to_a_uuid_in_its_canonical_form_too(sdk: SdkEdge, uuid: str) -> None:
    """Go's SDK looks for that one, and tells the app nothing of an event that it does not find."""
    body = {"batch": [{**EVENT, "uuid": uuid}]}
    response = await sdk.client.post("/i/v1/analytics/events", json=body, headers=V1_HEADERS)
    results = response.json()["results"]
    assert results[uuid] == results["0190a1b2-c3d4-7e5f-8123-456789abcdef"] == {"result": "ok"}


@pytest.mark.parametrize("member", ['"properties":{"a":NaN}', '"session_id":5', '"event":null'])
async def test_capture_v1_answers_to_an_event_that_cannot_be_read(sdk: SdkEdge, member: str) -> None:
    """Python's SDK takes one that has no answer for a stored one; Go's tells the app nothing of it."""
    body = b'{"batch":[%b,{"distinct_id":"u1","uuid":"2",%b},5,{"uuid":[]}]}' % (
        json.dumps({**EVENT, "uuid": "1"}).encode(),
        member.encode(),
    )
    response = await sdk.client.post("/i/v1/analytics/events", content=body, headers=V1_HEADERS)
    assert response.status_code == 200
    results = response.json()["results"]
    assert {uuid: one["result"] for uuid, one in results.items()} == {"1": "ok", "2": "drop"}
    assert results["2"]["details"]
    assert len(sdk.letters) == 3


async def test_capture_v1_refuses_in_texts(sdk: SdkEdge) -> None:
    headers = {**V1_HEADERS, "authorization": "Bearer hr_unknown"}
    answer = (await sdk.client.post("/i/v1/analytics/events", content=V1_GO, headers=headers)).json()
    assert answer["error"] == answer["code"] == "unauthorized"
    assert answer["error_description"] == answer["detail"]


@pytest.mark.parametrize(("key", "status"), [(KEY, 200), (BOTH_KEY, 403), ("hr_unknown", 401), (None, 401)])
async def test_the_key_in_a_body_can_do_nothing_but_send(sdk: SdkEdge, key: str | None, status: int) -> None:
    response = await sdk.client.post("/batch/", json={"api_key": key, "batch": [EVENT]})
    assert response.status_code == status
    assert len(sdk.events) == (status == 200)


# What the SDKs ask for.


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/flags/?v=2", "/decide/?v=3"])
async def test_there_are_no_flags(sdk: SdkEdge, method: str, path: str) -> None:
    response = await sdk.client.request(method, path, content=b"data=x" if method == "POST" else None)
    answer = response.json()
    assert (response.status_code, answer["featureFlags"], answer["flags"]) == (200, {}, {})
    assert answer["sessionRecording"] is False


async def test_the_configuration(sdk: SdkEdge) -> None:
    config = (await sdk.client.get(f"/array/{KEY}/config")).json()
    assert (config["token"], config["hasFeatureFlags"], config["sessionRecording"]) == (KEY, False, False)
    script = await sdk.client.get("/array/a'<b/config.js")
    assert script.headers["content-type"].startswith("application/javascript")
    assert '"a\'\\u003cb"' in script.text


# As posthog 3.7.0 for Python sends it, but for the key.
WITHOUT_ID = {
    "properties": {"a": 1, "$lib": "posthog-python", "$lib_version": "3.7.0", "$geoip_disable": True},
    "timestamp": "2026-11-20T11:00:00.123456+00:00",
    "context": {},
    "distinct_id": "dev",
    "event": "seen",
}


async def test_a_batch_without_ids_that_is_sent_again_is_the_same(sdk: SdkEdge) -> None:
    """Two that are alike in one request are two."""
    batch = [WITHOUT_ID, WITHOUT_ID, {**WITHOUT_ID, "properties": {"a": 2}}]
    for second in ("1", "2"):
        sent_at = f"2026-11-20T11:00:0{second}.5+00:00"
        response = await send(sdk, *batch, historical_migration=False, sentAt=sent_at)
        assert response.status_code == 200
    ids = [event["event_id"] for event in sdk.events]
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    "changed", [{"timestamp": "2026-11-20T11:00:00.123457+00:00"}, {"distinct_id": "other"}, {"properties": {"a": 2}}]
)
async def test_another_event_without_an_id_is_another_one(sdk: SdkEdge, changed: dict[str, Any]) -> None:
    await send(sdk, WITHOUT_ID)
    await send(sdk, {**WITHOUT_ID, **changed})
    assert len({event["event_id"] for event in sdk.events}) == 2


@pytest.mark.parametrize("timestamp", ["2026-11-20T11:00:00+00:00", None])
async def test_whole_seconds_tell_no_event_from_the_next(sdk: SdkEdge, timestamp: str | None) -> None:
    event = {**WITHOUT_ID, "timestamp": timestamp}
    await send(sdk, event)
    await send(sdk, event)
    assert len({event["event_id"] for event in sdk.events}) == 2


async def test_an_identify_without_an_id_that_is_sent_again_is_the_same(sdk: SdkEdge) -> None:
    event = {**WITHOUT_ID, "event": "$identify", "properties": {"$anon_distinct_id": "a1", "$set": {"a": 1}}}
    await send(sdk, event)
    await send(sdk, event)
    assert len({line["event_id"] for line in sdk.identity}) == 1
