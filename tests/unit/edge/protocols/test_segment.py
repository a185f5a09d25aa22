"""What Segment's, RudderStack's and Jitsu's messages become, by table, and what these SDKs are answered."""

import base64
import gzip
import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from services.edge.protocols.family import Options
from tests.unit.edge.protocols.conftest import BOTH_KEY, KEY, OTHER_KEY, QUERY_KEY, SdkEdge, lost

TRACK: dict[str, Any] = {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m1"}


async def send(sdk: SdkEdge, *messages: Any, key: str = KEY, **envelope: Any) -> httpx.Response:
    return await sdk.client.post("/v1/batch", json={"batch": messages, **envelope}, auth=(key, ""))


async def sent_event(sdk: SdkEdge, message: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    response = await send(sdk, message, **envelope)
    assert (response.status_code, response.text) == (200, '{"success":true}')
    (event,) = sdk.events
    return event


# Events.


@pytest.mark.parametrize(
    ("message", "distinct_id", "properties"),
    [
        (TRACK, "u1", {}),
        ({**TRACK, "properties": {"total": 9.5, "a": {"b": [1]}}}, "u1", {"total": 9.5, "a": {"b": [1]}}),
        ({**TRACK, "properties": None}, "u1", {}),
        ({**TRACK, "userId": 42}, "42", {}),
        ({**TRACK, "userId": 42.0}, "42", {}),
        ({**TRACK, "userId": None, "anonymousId": "a1"}, "a1", {}),
        ({**TRACK, "userId": "", "anonymousId": "a1"}, "a1", {}),
        ({**TRACK, "anonymousId": "a1"}, "u1", {"$anonymous_id": "a1"}),
        ({**TRACK, "anonymousId": ""}, "u1", {}),
        ({**TRACK, "context": {"ip": "1.2.3.4"}}, "u1", {"$context": {"ip": "1.2.3.4"}}),
        ({**TRACK, "context": {}}, "u1", {}),
        ({**TRACK, "context": {"traits": {"email": "a@b"}, "os": 1}}, "u1", {"$context": {"os": 1}}),
        (
            {**TRACK, "context": {"groupId": "acme"}},
            "u1",
            {"$context": {"groupId": "acme"}, "$groups": {"group": "acme"}},
        ),
        ({**TRACK, "context": {"groupId": 7}}, "u1", {"$context": {"groupId": 7}, "$groups": {"group": "7"}}),
        ({**TRACK, "context": {"groupId": None}}, "u1", {"$context": {"groupId": None}}),
        ({**TRACK, "groupId": "acme"}, "u1", {"$groups": {"group": "acme"}}),
        ({**TRACK, "groupId": 7, "context": {"os": 1}}, "u1", {"$context": {"os": 1}, "$groups": {"group": "7"}}),
        (
            {**TRACK, "groupId": "acme", "context": {"groupId": "other"}},
            "u1",
            {"$context": {"groupId": "other"}, "$groups": {"group": "acme"}},
        ),
        (
            {**TRACK, "properties": {"$context": 1, "x": "$anonymous_id"}, "context": {"a": 1}, "anonymousId": "a1"},
            "u1",
            {"$context": 1, "x": "$anonymous_id", "$anonymous_id": "a1"},
        ),
    ],
)
async def test_a_track_is_an_event(
    sdk: SdkEdge, message: dict[str, Any], distinct_id: str, properties: dict[str, Any]
) -> None:
    event = await sent_event(sdk, message)
    assert (event["event"], event["distinct_id"], event["properties"]) == ("Order Completed", distinct_id, properties)
    assert (event["project_id"], event["idempotency_key"]) == ("shop", "m1")


@pytest.mark.parametrize(
    "fields",
    [
        {"context": {}},
        {"context": {}, "anonymousId": "a1"},
        {"context": {"os": 1}, "anonymousId": "a1"},
        {"context": {"os": 1}, "anonymousId": 0},
        {"context": {"os": 1}, "anonymousId": 7},
        {"context": None},
        {"context": {"os": 1}, "userId": None, "anonymousId": "a1"},
        {},
    ],
)
async def test_a_track_is_the_same_event_in_a_batch_of_any_size(sdk: SdkEdge, fields: dict[str, Any]) -> None:
    message = {**TRACK, "properties": {"a": 1}, "timestamp": "2026-11-20T11:00:00Z", **fields}
    alone = await sent_event(sdk, message)
    await send(sdk, *({**message, "messageId": f"m{number}"} for number in range(30)))
    assert len(sdk.events) == 31
    for event in sdk.events:
        assert (event["distinct_id"], event["properties"]) == (alone["distinct_id"], alone["properties"])


@pytest.mark.parametrize("messages", [1, 30])
@pytest.mark.parametrize("properties", [b"{ }", b"{\t}", b"{     }", b"{\n\n}", b'{"a":1 }', b"{}"])
@pytest.mark.parametrize("context", [b"", b',"context":{ }', b',"context":{"a":1 }'])
async def test_blanks_in_objects_do_no_harm(sdk: SdkEdge, messages: int, properties: bytes, context: bytes) -> None:
    own = b'"type":"track","event":"e","userId":"u","anonymousId":"a","timestamp":"2026-11-20T11:00:00Z"'
    batch = [b'{"messageId":"m%d",%b,"properties":%b%b}' % (i, own, properties, context) for i in range(messages)]
    response = await sdk.client.post("/v1/batch", content=b'{"batch":[%b]}' % b",".join(batch), auth=(KEY, ""))
    assert response.status_code == 200
    expected = {**json.loads(properties), "$anonymous_id": "a"}
    if context:
        expected["$context"] = json.loads(context.partition(b":")[2])
    found = [{"$context": {}, **event["properties"]} for event in sdk.events]
    assert found == [{"$context": {}, **expected}] * messages


@pytest.mark.parametrize("value", [b"1", b'"x"', b"[1]", b"true", b"null"])
@pytest.mark.parametrize("name", [b"properties", b"context"])
async def test_what_is_no_object_is_the_same_in_a_batch_of_any_size(sdk: SdkEdge, name: bytes, value: bytes) -> None:
    own = b'"type":"track","event":"e","userId":"u","timestamp":"2026-11-20T11:00:00Z"'
    fields = {b"properties": b'{"a":1}', b"context": b'{"b":1}', name: value}
    parts = b",".join(b'"%b":%b' % field for field in fields.items())
    found = []
    for count in (1, 20):
        sdk.log.clear()
        batch = b",".join(b'{"messageId":"m%d",%b,%b}' % (i, own, parts) for i in range(count))
        response = await sdk.client.post("/v1/batch", content=b'{"batch":[%b]}' % batch, auth=(KEY, ""))
        events = [event["properties"] for event in sdk.events] if not sdk.is_empty else []
        codes = [code for code, _ in sdk.letters]
        assert len(events) + len(codes) == count
        found.append((response.status_code, *events[:1], *codes[:1]))
        assert events == events[:1] * len(events)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["page", "screen"])
@pytest.mark.parametrize(
    ("fields", "properties"),
    [
        ({}, {}),
        ({"name": "Home", "category": "Docs"}, {"name": "Home", "category": "Docs"}),
        ({"name": "Home", "properties": {"name": "Own", "path": "/"}}, {"name": "Own", "path": "/"}),
        ({"name": None, "properties": {"path": "/"}}, {"path": "/"}),
        ({"event": "Home", "properties": {"path": "/"}}, {"name": "Home", "path": "/"}),
        ({"event": "Home", "name": "Own"}, {"name": "Own"}),
        ({"properties": []}, {}),
    ],
)
async def test_pages_and_screens_are_events(
    sdk: SdkEdge, kind: str, fields: dict[str, Any], properties: dict[str, Any]
) -> None:
    event = await sent_event(sdk, {"type": kind, "anonymousId": "a1", **fields})
    assert (event["event"], event["properties"]) == (kind, properties)


async def test_a_track_that_is_called_page_has_no_name_of_a_page(sdk: SdkEdge) -> None:
    event = await sent_event(sdk, {**TRACK, "event": "page", "name": "x"})
    assert event["properties"] == {}


@pytest.mark.parametrize(
    ("of_batch", "own", "context"),
    [
        (
            {"library": {"name": "analytics-go"}, "ip": "1"},
            {"ip": "2"},
            {"library": {"name": "analytics-go"}, "ip": "2"},
        ),
        ({"ip": "1"}, None, {"ip": "1"}),
        ({"ip": "1"}, {}, {"ip": "1"}),
        ({"ip": "1"}, 5, {"ip": "1"}),
        ({"ip": "1", "traits": {"email": "a@b"}}, {"os": 1}, {"ip": "1", "os": 1}),
        ({"ip": "1"}, {"ip": "1"}, {"ip": "1"}),
        ({}, {"os": 1}, {"os": 1}),
        (5, {"os": 1}, {"os": 1}),
        (None, {"os": 1}, {"os": 1}),
    ],
)
@pytest.mark.parametrize("messages", [1, 20])
async def test_the_context_of_a_batch_is_that_of_its_messages(
    sdk: SdkEdge, of_batch: Any, own: Any, context: dict[str, Any], messages: int
) -> None:
    """Go's and Java's SDKs say there what the app has given for all. What a message says itself counts more."""
    message = {**TRACK, "timestamp": "2026-11-20T11:00:00Z", "context": own}
    response = await send(sdk, *({**message, "messageId": f"m{i}"} for i in range(messages)), context=of_batch)
    assert response.status_code == 200
    assert [event["properties"] for event in sdk.events] == [{"$context": context}] * messages


async def test_the_group_and_traits_of_a_batchs_context_count_beside_a_messages_own(sdk: SdkEdge) -> None:
    identify = {"type": "identify", "userId": "u1", "context": {"os": 1}}
    await send(sdk, {**TRACK, "context": {"os": 1}}, identify, context={"groupId": "acme", "traits": {"plan": "pro"}})
    assert sdk.events[0]["properties"]["$groups"] == {"group": "acme"}
    assert sdk.identity[0]["traits"] == {"plan": "pro"}


async def test_a_context_that_a_batch_says_once_does_not_take_all_memory(sdk: SdkEdge) -> None:
    """It is written into each event: a request of some kilobytes, packed, took gigabytes."""
    messages = [{**TRACK, "messageId": f"m{i}"} for i in range(2500)]
    assert (await send(sdk, *messages, context={"of": "x" * 4000})).status_code == 200
    assert len(sdk.events) == 2500
    sdk.log.clear()
    assert (await send(sdk, *messages, context={"of": "x" * 100_000})).status_code == 200
    assert sum(map(len, sdk.log.event_lines)) < 11 * 1024 * 1024
    assert len(sdk.events) + len(sdk.letters) == 2500
    assert {code for code, _ in sdk.letters} == {"event_too_large"}


async def test_personal_data_of_the_context_stays_out_of_events(sdk: SdkEdge) -> None:
    """RudderStack's browser SDK sends all traits with every event."""
    message = {**TRACK, "context": {"traits": {"email": "ada@shop.example"}, "page": {"traits": "no"}}}
    await sent_event(sdk, message)
    assert b"ada@shop.example" not in b"".join(sdk.log.event_lines)


@pytest.mark.parametrize("sdk", [{"options": Options(group_type="company", request_properties=True)}], indirect=True)
async def test_what_an_operator_can_set(sdk: SdkEdge) -> None:
    headers = {"x-forwarded-for": "6.6.6.6, 9.8.7.6", "user-agent": "SomePhone"}
    message = {**TRACK, "context": {"groupId": "acme"}}
    await sdk.client.post("/v1/batch", json={"batch": [message]}, headers=headers, auth=(KEY, ""))
    properties = sdk.events[0]["properties"]
    assert (properties["$ip"], properties["$user_agent"]) == ("9.8.7.6", "SomePhone")
    assert properties["$groups"] == {"company": "acme"}


# People and groups.


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            {"type": "identify", "userId": "u1", "anonymousId": "a1", "traits": {"plan": "pro"}},
            {"kind": "link", "distinct_id": "u1", "old_id": "a1", "user_id": "u1", "traits": {"plan": "pro"}},
        ),
        (
            {"type": "identify", "userId": "u1", "traits": {"plan": "pro"}},
            {"kind": "identify", "distinct_id": "u1", "user_id": "u1", "traits": {"plan": "pro"}},
        ),
        (
            {"type": "identify", "anonymousId": "a1", "traits": {"plan": "pro"}},
            {"kind": "identify", "distinct_id": "a1", "traits": {"plan": "pro"}},
        ),
        (
            {"type": "identify", "userId": "u1", "context": {"traits": {"a": 1, "b": 1}}, "traits": {"b": 2}},
            {"kind": "identify", "distinct_id": "u1", "user_id": "u1", "traits": {"a": 1, "b": 2}},
        ),
        (
            {"type": "identify", "userId": "u1", "context": {"traits": []}, "traits": []},
            {"kind": "identify", "distinct_id": "u1", "user_id": "u1"},
        ),
        (
            {"type": "alias", "previousId": "a1", "userId": "u1"},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            {"type": "alias", "anonymousId": "a1", "userId": "u1"},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            {"type": "group", "userId": "u1", "anonymousId": "a1", "groupId": 7, "traits": {"seats": 4}},
            {"kind": "group", "distinct_id": "u1", "group_type": "group", "group_key": "7", "traits": {"seats": 4}},
        ),
        ({"type": "group", "groupId": "g"}, {"kind": "group", "group_type": "group", "group_key": "g"}),
    ],
)
async def test_who_is_who(sdk: SdkEdge, message: dict[str, Any], line: dict[str, Any]) -> None:
    response = await send(sdk, {**message, "messageId": "m", "timestamp": "2026-11-20T11:00:00Z"})
    assert response.status_code == 200
    (kept,) = sdk.identity
    for name in ("project_id", "event_id", "received_at", "idempotency_key"):
        kept.pop(name)
    time = kept.pop("timestamp")
    assert kept == line
    # A merge counts when it is received.
    assert time == ("2026-11-20T12:00:00Z" if line["kind"] == "alias" else "2026-11-20T11:00:00Z")


@pytest.mark.parametrize(
    ("user", "anonymous", "owner"), [("u1", "null", "u1"), ("undefined", "a1", "a1"), ("[object Object]", "a1", "a1")]
)
async def test_of_a_placeholder_the_traits_are_taken_and_the_link_is_not(
    sdk: SdkEdge, user: str, anonymous: str, owner: str
) -> None:
    message = {"type": "identify", "userId": user, "anonymousId": anonymous, "traits": {"plan": "pro"}}
    assert (await send(sdk, message)).status_code == 200
    (line,) = sdk.identity
    assert (line["kind"], line["distinct_id"], line["traits"]) == ("identify", owner, {"plan": "pro"})
    assert sdk.letters == [("illegal_id", json.dumps(message, separators=(",", ":")))]


async def test_a_track_with_both_ids_does_not_link(sdk: SdkEdge) -> None:
    await sent_event(sdk, {**TRACK, "anonymousId": "a1"})
    assert sdk.identity == []


# The same message again.


async def test_a_message_that_is_sent_again_is_the_same_one(sdk: SdkEdge) -> None:
    flow = [{**TRACK, "messageId": "m"}, {"type": "identify", "userId": "u1", "anonymousId": "a", "messageId": "m"}]
    for _ in range(2):
        await send(sdk, *flow)
    assert len({event["event_id"] for event in sdk.events}) == 1
    assert len({line["event_id"] for line in sdk.identity}) == 1


async def test_a_message_is_the_same_one_as_a_native_event_of_its_key(sdk: SdkEdge) -> None:
    await sent_event(sdk, TRACK)
    native = {"event": "Order Completed", "distinct_id": "u1", "idempotency_key": "m1"}
    await sdk.client.post("/v1/analytics/track", json=native, headers={"authorization": f"Bearer {KEY}"})
    assert len({event["event_id"] for event in sdk.events}) == 1


async def test_long_ids_of_messages_are_hashed(sdk: SdkEdge) -> None:
    await send(
        sdk, {**TRACK, "messageId": "m" * 300}, {**TRACK, "messageId": "m" * 300}, {**TRACK, "messageId": "m" * 301}
    )
    assert len({event["event_id"] for event in sdk.events}) == 2
    assert {len(event["idempotency_key"]) for event in sdk.events} == {32}


@pytest.mark.parametrize("key", ["undefined", "null", "", None, "[object Object]"])
async def test_placeholders_of_message_ids_count_as_none(sdk: SdkEdge, key: str | None) -> None:
    before = lost("segment", "placeholder_key")
    await send(sdk, {**TRACK, "messageId": key}, {**TRACK, "messageId": key})
    assert len({event["event_id"] for event in sdk.events}) == 2
    assert lost("segment", "placeholder_key") - before == (2 if key else 0)


# Times.

PYTHON, GO = {"library": {"name": "analytics-python"}}, {"library": {"name": "analytics-go"}}


@pytest.mark.parametrize(
    ("fields", "sent_at", "time", "original"),
    [
        ({}, None, "2026-11-20T12:00:00Z", None),
        ({"timestamp": "2026-11-20T11:00:00Z"}, None, "2026-11-20T11:00:00Z", None),
        ({"timestamp": "2026-11-20T11:00:00.123456789Z"}, None, "2026-11-20T11:00:00.123456Z", None),
        ({"originalTimestamp": "2026-11-20T11:00:00Z"}, None, "2026-11-20T11:00:00Z", None),
        (
            {"timestamp": "2026-11-20T10:00:00Z", "originalTimestamp": "2026-11-20T11:00:00Z"},
            None,
            "2026-11-20T10:00:00Z",
            None,
        ),
        # A clock that is ahead is certainly wrong, whoever says it.
        ({"timestamp": "2026-11-20T13:59:00Z"}, "2026-11-20T14:00:00Z", "2026-11-20T11:59:00Z", "2026-11-20T13:59:00Z"),
        ({"timestamp": "2026-11-20T12:00:01Z"}, "2026-11-20T12:00:04Z", "2026-11-20T12:00:01Z", None),
        # Behind: an old time of the first try, but for those that stamp each try.
        ({"timestamp": "2026-11-20T10:00:00Z"}, "2026-11-20T10:00:01Z", "2026-11-20T10:00:00Z", None),
        ({"timestamp": "2026-11-20T10:00:00Z", "context": GO}, "2026-11-20T10:00:01Z", "2026-11-20T10:00:00Z", None),
        # A phone that has lost its time.
        (
            {"timestamp": "1970-01-01T00:05:00Z", "context": GO},
            "1970-01-01T00:06:00Z",
            "2026-11-20T11:59:00Z",
            "1970-01-01T00:05:00Z",
        ),
        (
            {"timestamp": "2026-11-20T10:00:00Z", "context": PYTHON},
            "2026-11-20T10:00:01Z",
            "2026-11-20T11:59:59Z",
            "2026-11-20T10:00:00Z",
        ),
        # Years ahead by now: what happened before has its time from a clock that was right.
        ({"timestamp": "2026-11-20T11:00:00Z"}, "2060-01-01T00:00:00Z", "2026-11-20T11:00:00Z", None),
        ({"timestamp": "2059-12-31T23:00:00Z"}, "2060-01-01T00:00:00Z", "2026-11-20T11:00:00Z", "2059-12-31T23:00:00Z"),
        # A time after that of sending is from another clock: before the phone lost its time, or a server's.
        ({"timestamp": "2026-11-20T10:00:00Z", "context": GO}, "1970-01-01T00:06:00Z", "2026-11-20T10:00:00Z", None),
        ({"timestamp": "2026-11-20T10:00:00Z", "context": GO}, "0001-01-01T00:00:00Z", "2026-11-20T10:00:00Z", None),
        (
            {"timestamp": "2026-11-20T11:30:00Z", "context": PYTHON},
            "2026-11-20T10:00:00Z",
            "2026-11-20T11:30:00Z",
            None,
        ),
        (
            {"timestamp": "2026-11-20T11:59:00Z", "context": PYTHON},
            "2026-11-20T11:59:10Z",
            "2026-11-20T11:59:00Z",
            None,
        ),
        ({"timestamp": "2026-11-20T10:00:00Z"}, "not a time", "2026-11-20T10:00:00Z", None),
    ],
)
async def test_times(
    sdk: SdkEdge, fields: dict[str, Any], sent_at: str | None, time: str, original: str | None
) -> None:
    event = await sent_event(sdk, {**TRACK, **fields}, sentAt=sent_at)
    assert (event["timestamp"], event.get("original_timestamp")) == (time, original)
    assert event["received_at"] == "2026-11-20T12:00:00Z"


@pytest.mark.parametrize("own", [None, "", "soon"])
async def test_a_message_that_does_not_say_when_it_was_sent_has_the_time_of_its_batch(sdk: SdkEdge, own: Any) -> None:
    message = {**TRACK, "timestamp": "2026-11-20T13:59:00Z", "sentAt": own}
    event = await sent_event(sdk, message, sentAt="2026-11-20T14:00:00Z")
    assert event["timestamp"] == "2026-11-20T11:59:00Z"


@pytest.mark.parametrize(
    "library",
    [
        "analytics-ruby",
        "analytics-android",
        "analytics-ios",
        "analytics-react-native",
        "@segment/analytics-react-native",
        "com.rudderstack.android.sdk.core",
        "com.rudderstack.sdk.kotlin.android",
        "rudder-sdk-swift",
        "rudder-ios-library",
    ],
)
async def test_a_phone_whose_clock_is_behind(sdk: SdkEdge, library: str) -> None:
    """These stamp each try. RudderStack's write `sentAt` into each message."""
    message = {**TRACK, "originalTimestamp": "2026-11-20T10:00:00Z", "sentAt": "2026-11-20T10:00:01Z"}
    event = await sent_event(sdk, {**message, "context": {"library": {"name": library}}})
    assert event["timestamp"] == "2026-11-20T11:59:59Z"


@pytest.mark.parametrize("hour", ["02", "07", "12", "23"])
async def test_local_times_that_say_no_zone(sdk: SdkEdge, hour: str) -> None:
    """Flutter's SDK writes both of its times so. In the Americas each event was some hours too early."""
    sent_at, library = f"2026-11-20T{hour}:00:01.000123", {"library": {"name": "analytics-flutter"}}
    message = {**TRACK, "timestamp": f"2026-11-20T{hour}:00:00.000123", "context": library}
    event = await sent_event(sdk, message, sentAt=sent_at)
    right = "2026-11-20T12:00:00.000123Z" if hour == "12" else "2026-11-20T11:59:59Z"
    assert event["timestamp"] == right


@pytest.mark.parametrize(
    ("library", "status"),
    [
        ("com.rudderstack.android.sdk.core", 200),
        ("rudder-ios-library", 200),
        ("analytics-kotlin", 400),
        ("com.rudderstack.sdk.kotlin.android", 400),
    ],
)
async def test_what_none_of_is_valid_does_not_come_again(sdk: SdkEdge, library: str, status: int) -> None:
    """RudderStack's for phones, version 1, send again each second what gets no 200. The others drop what gets a 400."""
    of_1970 = {**TRACK, "originalTimestamp": "1970-01-01T00:00:07.000Z", "context": {"library": {"name": library}}}
    response = await send(sdk, of_1970)
    assert (response.status_code, response.json()["success"]) == (status, status == 200)
    assert [code for code, _ in sdk.letters] == ["invalid_timestamp"]
    assert not sdk.events


async def test_a_message_of_another_project_does_not_land_in_this_one(sdk: SdkEdge) -> None:
    messages = [{**TRACK, "messageId": key, "writeKey": key} for key in (KEY, OTHER_KEY, KEY)]
    assert (await sdk.client.post("/v1/batch", json={"batch": messages})).status_code == 200
    assert [event["idempotency_key"] for event in sdk.events] == [KEY, KEY]
    assert [code for code, _ in sdk.letters] == ["invalid_field"]


@pytest.mark.parametrize(("key", "status"), [("hr_unknown", 401), (QUERY_KEY, 403)])
async def test_a_wrong_key_is_said_so_that_phones_stop(sdk: SdkEdge, key: str, status: int) -> None:
    """RudderStack's look for these words in the answer; without them they ask again each second."""
    response = await send(sdk, TRACK, key=key)
    assert response.status_code == status
    assert "invalid write key" in response.text.lower()
    assert sdk.is_empty


async def test_the_order_of_a_batch_is_kept(sdk: SdkEdge) -> None:
    await send(sdk, *({**TRACK, "messageId": str(number)} for number in range(30)))
    by_receipt = sorted(sdk.events, key=lambda event: datetime.fromisoformat(event["received_at"]))
    assert [event["idempotency_key"] for event in by_receipt] == [str(number) for number in range(30)]
    assert len({event["received_at"] for event in by_receipt}) == 30


# What is wrong.


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"type": "track", "userId": "u"}, "missing_field"),
        ({"type": "track", "event": "e"}, "missing_field"),
        ({"type": "track", "event": "e" * 201, "userId": "u"}, "invalid_field"),
        ({"type": "track", "event": "e", "userId": "u" * 513}, "invalid_field"),
        ({"type": "track", "event": "e", "userId": "a\0b"}, "invalid_field"),
        ({"type": "track", "event": "e", "userId": True}, "invalid_field"),
        ({"type": "track", "event": "e", "userId": {"a": 1}}, "invalid_field"),
        ({"type": "track", "event": "e", "userId": "u", "properties": [1]}, "invalid_field"),
        ({"type": "track", "event": "e", "userId": "u", "timestamp": "yesterday"}, "invalid_timestamp"),
        ({"type": "track", "event": "e", "userId": "u", "timestamp": "1999-01-01T00:00:00Z"}, "invalid_timestamp"),
        ({"type": "nothing", "userId": "u"}, "invalid_field"),
        ({"userId": "u"}, "invalid_field"),
        ({"type": "alias", "userId": "u"}, "missing_field"),
        ({"type": "alias", "userId": "u", "previousId": "null"}, "illegal_id"),
        ({"type": "group", "userId": "u"}, "missing_field"),
        ({"type": "identify", "traits": {}}, "missing_field"),
        ("text", "invalid_field"),
        (None, "invalid_field"),
    ],
)
async def test_a_bad_message_is_a_dead_letter_and_costs_itself_only(sdk: SdkEdge, bad: Any, code: str) -> None:
    response = await send(sdk, TRACK, bad, {**TRACK, "messageId": "m2"})
    assert (response.status_code, response.text) == (200, '{"success":true}')
    assert [event["idempotency_key"] for event in sdk.events] == ["m1", "m2"]
    assert sdk.letters == [(code, json.dumps(bad, separators=(",", ":"), ensure_ascii=True))]
    assert sdk.log.dead_letters[0].origin.index == 1


@pytest.mark.parametrize(
    "bad",
    [
        b'{"type":"track","event":"e","userId":"u","properties":{"a":1e999}}',
        b'{"type":"track","event":"e","userId":"u","properties":' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b'{"type":"track","event":"e","userId":"u","context":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"type":"track","event":"e\xff","userId":"u"}',
        b'{"type":"track","event":"e","userId":"u",}',
        b'{"type":"track","event":"e","userId":"u","properties":{"a":"' + b"x" * 600_000 + b'"}}',
    ],
    ids=["number", "deep", "deep context", "bytes", "comma", "large"],
)
async def test_what_no_parser_takes_costs_itself_only(sdk: SdkEdge, bad: bytes) -> None:
    good = json.dumps(TRACK).encode()
    body = b'{"batch":[' + good + b"," + bad + b'],"sentAt":"2026-11-20T12:00:00Z"}'
    response = await sdk.client.post("/v1/batch", content=body, auth=(KEY, ""))
    assert (response.status_code, response.text) == (200, '{"success":true}')
    assert len(sdk.events) == len(sdk.letters) == 1


async def test_half_pairs_are_replaced(sdk: SdkEdge) -> None:
    body = rb'{"batch":[{"type":"track","event":"e","userId":"u","properties":{"a":"\ud83d"}}]}'
    assert (await sdk.client.post("/v1/batch", content=body, auth=(KEY, ""))).status_code == 200
    assert sdk.events[0]["properties"] == {"a": "�"}


async def test_fields_that_nobody_knows_are_counted(sdk: SdkEdge) -> None:
    before = lost("segment", "unknown_field")
    await sent_event(sdk, {**TRACK, "colour": "red"})
    assert lost("segment", "unknown_field") - before == 1


@pytest.mark.parametrize(("value", "count"), [(None, 0), ([{"a": 1}], 1)])
async def test_what_dotnet_writes_as_null_is_not_lost(sdk: SdkEdge, value: Any, count: int) -> None:
    before = lost("segment", "unknown_field")
    await sent_event(sdk, {**TRACK, "enrichment": None, "metrics": value, "_metadata": None})
    assert lost("segment", "unknown_field") - before == count


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("integrations", {"Mixpanel": False}, "integrations"),
        ("_metadata", {"bundled": ["x"]}, "metadata"),
        ("channel", "server", "channel"),
    ],
)
async def test_what_has_no_place_is_counted(sdk: SdkEdge, field: str, value: Any, kind: str) -> None:
    before = lost("segment", kind)
    await sent_event(sdk, {**TRACK, field: value})
    assert lost("segment", kind) - before == 1


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("integrations", {}, "integrations"),
        ("integrations", None, "integrations"),
        ("integrations", {"All": True}, "integrations"),
        ("channel", None, "channel"),
    ],
)
async def test_what_says_nothing_is_not_counted(sdk: SdkEdge, field: str, value: Any, kind: str) -> None:
    before = lost("segment", kind)
    await sent_event(sdk, {**TRACK, field: value})
    assert lost("segment", kind) == before


@pytest.mark.parametrize(
    ("kind", "context", "count"),
    [
        ("identify", {"os": 1}, 1),
        ("identify", {"os": 1, "traits": {"a": 1}}, 1),
        ("identify", {"traits": {"a": 1}}, 0),  # they are taken
        ("identify", {}, 0),
        ("alias", {"os": 1}, 1),
        ("group", {"os": 1}, 1),
        ("group", {"traits": {"a": 1}}, 1),
        ("track", {"os": 1}, 0),
    ],
)
@pytest.mark.parametrize("of_batch", [False, True])
async def test_the_context_of_messages_about_people_is_counted(
    sdk: SdkEdge, kind: str, context: dict[str, Any], count: int, of_batch: bool
) -> None:
    """Go's SDK says one for the whole batch."""
    before = lost("segment", "identity_context")
    message = {"type": kind, "event": "e", "userId": "u1", "previousId": "a1", "groupId": "acme"}
    if of_batch:
        await send(sdk, message, context=context)
    else:
        await send(sdk, {**message, "context": context})
    assert lost("segment", "identity_context") - before == count


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"batch":[{"type":"nothing"}]}', "invalid_field"),
        (b'{"batch":', "invalid_json"),
        (b"[]", "invalid_json"),
        (b"", "invalid_json"),
        (b"{}", "missing_field"),
        (b'{"batch":{}}', "invalid_json"),
        (b'{"batch":[' + b",".join([b"{}"] * 5001) + b"]}", "batch_too_large"),
    ],
)
async def test_a_refusal_says_so_at_the_top(sdk: SdkEdge, body: bytes, code: str) -> None:
    """Without `code` and `message` there, RudderStack's Python SDK sends a 4xx again ten times."""
    response = await sdk.client.post("/v1/batch", content=body, auth=(KEY, ""))
    answer = response.json()
    assert (response.status_code, answer["code"], answer["error"]["code"]) == (400, code, code)
    assert answer["message"] == answer["error"]["message"]
    assert answer["request_id"]
    assert not sdk.events


async def test_an_empty_batch_is_a_success(sdk: SdkEdge) -> None:
    response = await send(sdk)
    assert (response.status_code, response.text) == (200, '{"success":true}')


async def test_as_many_messages_as_the_api_takes(sdk: SdkEdge) -> None:
    response = await send(sdk, *({**TRACK, "messageId": str(number)} for number in range(2500)))
    assert response.status_code == 200
    assert len({event["event_id"] for event in sdk.events}) == 2500
    assert len({event["received_at"] for event in sdk.events}) == 2500


# Addresses and keys.

SINGLE = {
    "track": {"event": "e"},
    "page": {},
    "screen": {},
    "identify": {},
    "group": {"groupId": "g"},
    "alias": {"previousId": "o"},
}
SHORT = {"t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias"}


@pytest.mark.parametrize("address", [*SINGLE, *SHORT])
@pytest.mark.parametrize("end", ["", "/"])
async def test_single_calls(sdk: SdkEdge, address: str, end: str) -> None:
    body = {"userId": "u", **SINGLE[SHORT.get(address, address)]}
    response = await sdk.client.post(f"/v1/{address}{end}", json=body, auth=(KEY, ""))
    assert (response.status_code, response.text) == (200, '{"success":true}')
    assert len(sdk.events) + len(sdk.identity) == 1


@pytest.mark.parametrize("address", ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch", "/api/s/batch"])
async def test_batches(sdk: SdkEdge, address: str) -> None:
    assert (await sdk.client.post(address, json={"batch": [TRACK]}, auth=(KEY, ""))).status_code == 200
    assert len(sdk.events) == 1


@pytest.mark.parametrize("address", ["/api/s/track", "/api/s/s2s/track"])
async def test_jitsu(sdk: SdkEdge, address: str) -> None:
    response = await sdk.client.post(address, json=TRACK, headers={"x-write-key": f"some-id:{KEY}"})
    assert response.status_code == 200
    assert len(sdk.events) == 1


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "query", "in_body", "status"),
    [
        (basic(f"{KEY}:"), "", None, 200),
        (basic(f"{KEY}:password"), "", None, 200),
        (basic(KEY), "", None, 200),
        (basic(f"{BOTH_KEY}:"), "", None, 200),
        (basic(f"{KEY}:"), "", "hr_unknown", 200),
        ({}, "", KEY, 200),
        ({}, f"?writeKey={KEY}", None, 200),
        ({"x-write-key": KEY}, "", None, 200),
        ({"authorization": f"Bearer {KEY}"}, "", None, 200),
        ({}, "", BOTH_KEY, 403),
        ({}, f"?writeKey={BOTH_KEY}", None, 403),
        (basic(f"{QUERY_KEY}:"), "", None, 403),
        (basic("hr_unknown:"), "", KEY, 401),
        ({}, "", "hr_unknown", 401),
        ({}, "", None, 401),
        ({"authorization": "Basic !!!"}, "", None, 401),
        ({"authorization": basic(f"{KEY}:")["authorization"].rstrip("=")}, "", None, 200),
        ({"authorization": basic(f"{KEY}:x")["authorization"].rstrip("=")}, "", None, 200),
        (basic(":"), "", None, 401),
    ],
)
async def test_where_the_key_may_be(
    sdk: SdkEdge, headers: dict[str, str], query: str, in_body: str | None, status: int
) -> None:
    body: dict[str, Any] = {"batch": [TRACK]}
    if in_body is not None:
        body["writeKey"] = in_body
    response = await sdk.client.post(f"/v1/batch{query}", json=body, headers=headers)
    assert response.status_code == status
    assert len(sdk.events) == (status == 200)
    if status != 200:
        assert response.json()["message"]


async def test_the_key_of_a_single_message_is_in_it(sdk: SdkEdge) -> None:
    response = await sdk.client.post("/v1/t", content=json.dumps({**TRACK, "writeKey": OTHER_KEY}))
    assert response.status_code == 200
    assert sdk.events[0]["project_id"] == "blog"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/json", ""])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("says_so", [False, True])
async def test_bodies_are_what_their_bytes_are(sdk: SdkEdge, media_type: str, is_packed: bool, says_so: bool) -> None:
    """RudderStack's Node SDK sends gzip as a form; beacons are text/plain."""
    text = json.dumps({"batch": [TRACK]}).encode()
    headers = {"content-type": media_type, **({"content-encoding": "gzip"} if says_so else {})}
    response = await sdk.client.post(
        "/v1/batch", content=gzip.compress(text) if is_packed else text, headers=headers, auth=(KEY, "")
    )
    assert response.status_code == 200
    assert len(sdk.events) == 1


# What browser SDKs ask for first.


async def test_the_settings_lead_everything_here(sdk: SdkEdge) -> None:
    headers = {"x-forwarded-proto": "https", "host": "events.shop.example", "origin": "https://shop.example"}
    response = await sdk.client.get(f"/v1/projects/{KEY}/settings", headers=headers)
    answer = response.json()
    own = answer["integrations"]["Segment.io"]
    assert (own["apiKey"], own["apiHost"], own["protocol"]) == (KEY, "events.shop.example/v1", "https")
    assert answer["metrics"] == {"sampleRate": 0}
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    ("headers", "protocol"),
    [
        ({"host": "events.shop.example"}, "http"),
        ({"host": "events.shop.example", "x-forwarded-proto": "https"}, "https"),
        ({"host": "events.shop.example", "origin": "https://shop.example"}, "https"),
        ({"host": "events.shop.example", "origin": "https://shop.example", "x-forwarded-proto": "http"}, "https"),
        ({"host": "127.0.0.1:8000", "origin": "https://shop.example"}, "http"),
        ({"host": "events.shop.example", "origin": "http://shop.example"}, "http"),
        ({"host": "events.shop.example", "x-forwarded-proto": "https, http"}, "https"),
        ({"host": "events.shop.example", "x-forwarded-proto": "what,ever"}, "http"),
    ],
)
async def test_a_page_over_tls_is_led_to_tls(sdk: SdkEdge, headers: dict[str, str], protocol: str) -> None:
    answer = (await sdk.client.get(f"/v1/projects/{KEY}/settings", headers=headers)).json()
    own = answer["integrations"]["Segment.io"]
    assert (own["protocol"], own["apiHost"]) == (protocol, f"{headers['host']}/v1")


@pytest.mark.parametrize("host", ["[", "[::1", "a]b"])
async def test_a_host_that_is_no_address_leads_nowhere(sdk: SdkEdge, host: str) -> None:
    response = await sdk.client.get(f"/v1/projects/{KEY}/settings", headers={"host": host})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("address", ["/sourceConfig", "/sourceConfig/"])
async def test_the_source_of_rudderstack(sdk: SdkEdge, address: str) -> None:
    source = (await sdk.client.get(f"{address}?p=npm&v=3&writeKey={KEY}", auth=(KEY, ""))).json()["source"]
    assert source["id"]
    assert source["destinations"] == []
    # Those for phones take no answer without these.
    assert (source["name"], source["enabled"], source["writeKey"]) == ("headrace", True, KEY)
    assert datetime.fromisoformat(source["updatedAt"])
    assert source["workspaceId"]
    assert source["config"] == {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}}


@pytest.mark.parametrize("options", [{"auth": (KEY, "")}, {"params": {"writeKey": KEY}}, {}])
async def test_the_source_has_the_key_that_asks(sdk: SdkEdge, options: dict[str, Any]) -> None:
    source = (await sdk.client.get("/sourceConfig", **options)).json()["source"]
    assert source["writeKey"] == (KEY if options else "")
