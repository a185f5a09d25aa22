"""What Amplitude's events become, by table, and what its SDKs are answered."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.unit.edge.protocols.conftest import BOTH_KEY, KEY, NOW, SdkEdge, lost

EVENT: dict[str, Any] = {"event_type": "bought", "user_id": "u1", "insert_id": "i1"}
NOON_MS = int(NOW.timestamp() * 1000)


async def send(sdk: SdkEdge, *events: Any, path: str = "/2/httpapi", **more: Any) -> httpx.Response:
    return await sdk.client.post(path, json={"api_key": KEY, "events": events, **more})


async def sent_event(sdk: SdkEdge, event: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = await send(sdk, event, **more)
    assert (response.status_code, response.json()["code"]) == (200, 200)
    (kept,) = sdk.events
    return kept


@pytest.mark.parametrize(
    ("event", "distinct_id", "properties"),
    [
        (EVENT, "u1", {}),
        ({**EVENT, "event_properties": {"a": 1}}, "u1", {"a": 1}),
        ({**EVENT, "user_id": None, "device_id": "d1"}, "d1", {}),
        ({**EVENT, "device_id": "d1"}, "u1", {"$device_id": "d1"}),
        ({**EVENT, "groups": {"company": "acme", "team": 7}}, "u1", {"$groups": {"company": "acme", "team": "7"}}),
        ({**EVENT, "platform": "iOS", "session_id": 5}, "u1", {"$context": {"session_id": 5, "platform": "iOS"}}),
        ({**EVENT, "ip": "$remote", "os_name": None}, "u1", {}),
        ({**EVENT, "event_properties": [], "user_properties": [], "groups": []}, "u1", {}),
        ({**EVENT, "price": 1.5, "event_properties": {"price": 2}}, "u1", {"price": 2}),
        ({**EVENT, "revenue": 1.5, "productId": "p"}, "u1", {"revenue": 1.5, "productId": "p"}),
    ],
)
async def test_an_event(sdk: SdkEdge, event: dict[str, Any], distinct_id: str, properties: dict[str, Any]) -> None:
    kept = await sent_event(sdk, event)
    assert (kept["event"], kept["distinct_id"], kept["properties"]) == ("bought", distinct_id, properties)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"event_type": "$identify", "user_id": "u1", "device_id": "d1", "user_properties": {"$set": {"a": 1}}},
            {"kind": "link", "distinct_id": "u1", "old_id": "d1", "traits": {"a": 1}},
        ),
        (
            {"event_type": "$identify", "user_id": "u1", "user_properties": {"$setOnce": {"a": 1}}},
            {"kind": "identify", "distinct_id": "u1", "set_once": {"a": 1}},
        ),
        (
            {"event_type": "$identify", "device_id": "d1", "user_properties": {"$set": {"a": 1}, "$unset": {"b": "-"}}},
            {"kind": "identify", "distinct_id": "d1", "traits": {"a": 1, "b": None}},
        ),
        (
            {"event_type": "$groupidentify", "groups": {"company": "acme"}, "group_properties": {"$set": {"seats": 4}}},
            {"kind": "group", "group_type": "company", "group_key": "acme", "traits": {"seats": 4}},
        ),
    ],
)
async def test_who_is_who(sdk: SdkEdge, event: dict[str, Any], line: dict[str, Any]) -> None:
    assert (await send(sdk, event)).status_code == 200
    (kept,) = sdk.identity
    assert {name: kept.get(name) for name in line} == line
    assert not sdk.events


async def test_groups_of_an_identify_are_memberships(sdk: SdkEdge) -> None:
    await send(
        sdk, {"event_type": "$identify", "user_id": "u1", "groups": {"company": ["acme", "globex"]}, "insert_id": "1"}
    )
    lines = [(line["kind"], line["distinct_id"], line.get("group_key")) for line in sdk.identity]
    assert lines == [("identify", "u1", None), ("group", "u1", "acme"), ("group", "u1", "globex")]
    assert len({line["event_id"] for line in sdk.identity}) == 3


@pytest.mark.parametrize("traits", [{"$set": {"a": 1}}, {"a": 1}])
async def test_traits_of_any_event(sdk: SdkEdge, traits: dict[str, Any]) -> None:
    kept = await sent_event(sdk, {**EVENT, "user_properties": traits})
    assert kept["properties"] == {}
    assert (sdk.identity[0]["kind"], sdk.identity[0]["traits"]) == ("identify", {"a": 1})


async def test_traits_of_the_person_who_says_those_of_a_group(sdk: SdkEdge) -> None:
    """Python's SDK takes them beside those of the group."""
    group = {"event_type": "$groupidentify", "groups": {"company": "acme"}, "group_properties": {"$set": {"seats": 4}}}
    await send(sdk, {**group, "user_id": "u1", "device_id": "d1", "insert_id": "1", "user_properties": {"a": 1}})
    lines = [(line["kind"], line.get("distinct_id"), line["traits"]) for line in sdk.identity]
    assert lines == [("group", None, {"seats": 4}), ("identify", "u1", {"a": 1})]


@pytest.mark.parametrize("kind", ["$identify", "$groupidentify"])
async def test_what_has_no_place_in_messages_about_people_is_counted(sdk: SdkEdge, kind: str) -> None:
    """Python's SDK takes properties of the event that says them."""
    kinds = ("unknown_field", "plan", "event_properties")
    before = [lost("amplitude", name) for name in kinds]
    event = {**EVENT, "event_type": kind, "groups": {"company": "acme"}, "plan": {"branch": "x"}, "colour": 1}
    event["event_properties"] = {"from": "settings"}
    assert (await send(sdk, event)).status_code == 200
    form = {"api_key": KEY, "identification": json.dumps({**EVENT, "group_type": "company", "group_value": "acme"})}
    assert (await sdk.client.post("/groupidentify", data=form)).status_code == 200
    assert [lost("amplitude", name) - was for name, was in zip(kinds, before, strict=True)] == [1, 1, 1]


@pytest.mark.parametrize("value", ["NaN", "1e400", "[" * 3000 + "]" * 3000])
async def test_what_nobody_knows_may_hold_whatever_it_does(sdk: SdkEdge, value: str) -> None:
    before = lost("amplitude", "unknown_field")
    events = [{**EVENT, "colour": 0}, {"event_type": "$identify", "user_id": "u1", "colour": 0}]
    text = json.dumps({"api_key": KEY, "events": events}).replace('"colour": 0', f'"colour": {value}')
    assert (await sdk.client.post("/2/httpapi", content=text)).json()["events_ingested"] == 2
    assert (len(sdk.events), len(sdk.identity)) == (1, 1)
    assert lost("amplitude", "unknown_field") - before == 2


async def test_what_has_no_place_is_counted(sdk: SdkEdge) -> None:
    kinds = ("$add", "$append", "unknown_operation", "unknown_field", "plan", "groups", "group_properties")
    before = [lost("amplitude", kind) for kind in kinds]
    operations = {"$add": {"n": 1}, "$append": {"l": 1}, "$odd": {}, "$set": {"a": 1}}
    event = {**EVENT, "user_properties": operations, "plan": {"branch": "x"}, "colour": 1, "groups": {"c": ["a", "b"]}}
    await sent_event(sdk, {**event, "group_properties": {"$set": {"seats": 4}}})
    assert [lost("amplitude", kind) - was for kind, was in zip(kinds, before, strict=True)] == [1] * 7


@pytest.mark.parametrize(
    ("event", "uploaded", "time"),
    [
        (EVENT, None, "2026-11-20T12:00:00Z"),
        ({**EVENT, "time": NOON_MS - 3_600_000}, None, "2026-11-20T11:00:00Z"),
        ({**EVENT, "time": NOON_MS + 3_600_000 - 1000}, "2026-11-20T13:00:00Z", "2026-11-20T11:59:59Z"),
        ({**EVENT, "time": NOON_MS - 7_200_000}, "2026-11-20T11:00:00.000Z", "2026-11-20T11:00:00Z"),
        ({**EVENT, "time": NOON_MS - 7_200_000}, "no time", "2026-11-20T10:00:00Z"),
    ],
)
async def test_times(sdk: SdkEdge, event: dict[str, Any], uploaded: str | None, time: str) -> None:
    assert (await sent_event(sdk, event, client_upload_time=uploaded))["timestamp"] == time


async def test_an_event_that_is_sent_again_is_the_same_one(sdk: SdkEdge) -> None:
    for _ in range(2):
        await send(sdk, EVENT)
    assert len({event["event_id"] for event in sdk.events}) == 1
    await send(sdk, {**EVENT, "user_id": "u2"}, {**EVENT, "insert_id": "null"}, {**EVENT, "insert_id": "null"})
    assert len({event["event_id"] for event in sdk.events}) == 4


# Answers.


async def test_the_answer_of_a_success(sdk: SdkEdge) -> None:
    response = await send(sdk, EVENT, {"event_type": "x"})
    size = len(response.request.content)
    assert response.json() == {
        "code": 200,
        "events_ingested": 1,
        "payload_size_bytes": size,
        "server_upload_time": NOON_MS,
    }
    assert sdk.letters == [("missing_field", '{"event_type":"x"}')]


async def test_none_valid_says_which(sdk: SdkEdge) -> None:
    """Without the list of bad ones the SDKs send all again for ever."""
    response = await send(sdk, {"event_type": "x"}, {"event_type": "", "user_id": "u"})
    assert response.status_code == response.json()["code"] == 400
    assert response.json()["events_with_invalid_fields"] == {"event": [0, 1]}


@pytest.mark.parametrize("key", ["hr_unknown", BOTH_KEY, None])
async def test_a_wrong_key_is_said_so_that_the_sdks_stop(sdk: SdkEdge, key: str | None) -> None:
    response = await sdk.client.post("/2/httpapi", json={"api_key": key, "events": [EVENT]})
    assert response.status_code == response.json()["code"] == 400
    assert response.json()["error"].startswith("Invalid API key:")
    assert sdk.is_empty


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"api_key":"hr_ingest"}', b'{"api_key":"hr_ingest","events":{}}', gzip.compress(b"{}")[:-9]],
    ids=["half", "array", "no events", "events of another kind", "half of gzip"],
)
async def test_what_is_no_batch_is_400_and_not_sent_again(sdk: SdkEdge, body: bytes) -> None:
    """A 400 that names neither a field nor events makes the SDKs send all again; Go's does it without a rest."""
    response = await sdk.client.post("/2/httpapi", content=body)
    assert response.status_code == response.json()["code"] == 400
    assert response.json()["missing_field"]


async def test_more_events_than_are_taken_are_sent_in_parts(sdk: SdkEdge) -> None:
    """How many they send at once is a setting of each SDK. A 413 makes them send less."""
    response = await send(sdk, *({**EVENT, "insert_id": str(number)} for number in range(5001)))
    assert response.status_code == response.json()["code"] == 413
    assert sdk.is_empty


async def test_the_batch_address_is_shared_with_posthog(sdk: SdkEdge) -> None:
    assert (await send(sdk, EVENT, path="/batch")).json()["code"] == 200
    posthog = {"api_key": KEY, "batch": [{"event": "of_posthog", "distinct_id": "u", "properties": {"events": []}}]}
    assert (await sdk.client.post("/batch", json=posthog)).json() == {"status": 1}
    bad = json.dumps({"api_key": KEY, "events": [EVENT]}).encode()[:-1] + b',"x":}'
    assert (await sdk.client.post("/batch", content=bad)).json()["code"] == 200
    assert [event["event"] for event in sdk.events] == ["bought", "of_posthog", "bought"]


async def test_a_bad_event_costs_itself_only(sdk: SdkEdge) -> None:
    body = b'{"api_key":"hr_ingest","events":[{"event_type":"e","user_id":"u","a":1e999,"platform":"\\ud800"},{"event_type":"f","user_id":"u","event_properties":{"a":1e999}},{"event_type":"g","user_id":"u\xff"}]}'
    assert (await sdk.client.post("/2/httpapi", content=body)).status_code == 200
    assert [event["event"] for event in sdk.events] == ["e"]
    assert len(sdk.letters) == 2


# Events without an id.

WITHOUT_ID = {"event_type": "bought", "user_id": "u1", "time": NOON_MS - 3_599_877}


async def test_an_event_without_an_id_that_is_sent_again_is_the_same(sdk: SdkEdge) -> None:
    """@amplitude/node sends again by person: with other events than before."""
    other = {**WITHOUT_ID, "user_id": "u2"}
    await send(sdk, WITHOUT_ID, other, client_upload_time=NOON_MS)
    await send(sdk, WITHOUT_ID, client_upload_time=NOON_MS + 1)
    await send(sdk, other)
    assert len(sdk.events) == 4
    assert len({event["event_id"] for event in sdk.events}) == 2


@pytest.mark.parametrize(
    "changed",
    [{"time": NOON_MS - 3_599_876}, {"user_id": "other"}, {"event_properties": {"a": 2}}, {"event_type": "e"}],
)
async def test_another_event_without_an_id_is_another_one(sdk: SdkEdge, changed: dict[str, Any]) -> None:
    await send(sdk, WITHOUT_ID, WITHOUT_ID)
    await send(sdk, {**WITHOUT_ID, **changed})
    assert len({event["event_id"] for event in sdk.events}) == 3


@pytest.mark.parametrize("time", [NOON_MS, None])
async def test_what_may_be_said_of_several_events_is_no_id(sdk: SdkEdge, time: int | None) -> None:
    event = {**WITHOUT_ID, "time": time}
    await send(sdk, event, event)
    await send(sdk, event)
    assert len({event["event_id"] for event in sdk.events}) == 3


# Forms of HTTP V1.


@pytest.mark.parametrize("wrap", [lambda event: event, lambda event: [event]])
async def test_forms_of_http_v1(sdk: SdkEdge, wrap: Callable[[Any], Any]) -> None:
    """npm's `amplitude`, and SDKs of others, identify with these."""
    event = {**EVENT, "device_id": "d1", "time": NOON_MS, "event_properties": {"a": "&=é"}}
    who = {"user_id": "u1", "device_id": "d1", "user_properties": {"plan": "pro"}}
    for path, field, value in (("/httpapi", "event", event), ("/identify", "identification", who)):
        form = {"api_key": KEY, field: json.dumps(wrap(value))}
        response = await sdk.client.post(path, data=form)
        assert (response.status_code, response.text) == (200, "success")
    assert [(one["event"], one["distinct_id"]) for one in sdk.events] == [("bought", "u1")]
    assert sdk.events[0]["properties"] == {"a": "&=é", "$device_id": "d1"}
    (line,) = sdk.identity
    assert (line["kind"], line["distinct_id"], line["old_id"], line["traits"]) == ("link", "u1", "d1", {"plan": "pro"})


@pytest.mark.parametrize(("value", "keys"), [("acme", ["acme"]), (7, ["7"]), (["a", "b"], ["a", "b"]), (None, [])])
async def test_a_form_about_groups(sdk: SdkEdge, value: object, keys: list[str]) -> None:
    group = {"group_type": "company", "group_value": value, "group_properties": {"seats": 4}}
    for wrapped in (group, [group]):
        form = {"api_key": KEY, "identification": json.dumps(wrapped)}
        response = await sdk.client.post("/groupidentify", data=form)
        assert response.status_code == (200 if keys else 400)
    assert [line["group_key"] for line in sdk.identity] == keys * 2
    for line in sdk.identity:
        assert (line["kind"], line["group_type"], line["traits"]) == ("group", "company", {"seats": 4})
        assert "distinct_id" not in line
    assert not sdk.events


async def test_an_insert_id_about_groups_is_one_device_s_too(sdk: SdkEdge) -> None:
    group = {"event_type": "$groupidentify", "groups": {"company": "acme"}, "insert_id": "1"}
    for device in ("d1", "d2", None):
        for _ in range(2):
            properties = {"$set": {"seats": device or "none"}}
            await send(sdk, {**group, "device_id": device, "group_properties": properties})
    assert len({line["event_id"] for line in sdk.identity}) == 3


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"api_key": KEY, "event": "[{}]"}, 400),
        ({"api_key": KEY, "event": "x"}, 400),
        ({"api_key": "hr_unknown", "event": json.dumps(EVENT)}, 400),
        ({"event": json.dumps(EVENT)}, 400),
        ({"api_key": KEY, "event": "[]"}, 200),
    ],
)
async def test_forms_of_http_v1_that_hold_nothing(sdk: SdkEdge, form: dict[str, str], status: int) -> None:
    response = await sdk.client.post("/httpapi", data=form)
    assert response.status_code == status
    assert not sdk.events
