"""What Mixpanel's messages become, by table, and what its SDKs are answered."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.unit.edge.protocols.conftest import BOTH_KEY, KEY, NOW, OTHER_KEY, SdkEdge, lost

OWN = {"token": KEY, "distinct_id": "u1", "$insert_id": "i1", "time": NOW.timestamp() - 3600}
EVENT: dict[str, Any] = {"event": "bought", "properties": {**OWN, "a": 1}}


def event(**properties: Any) -> dict[str, Any]:
    return {"event": "bought", "properties": {**OWN, **properties}}


async def send(sdk: SdkEdge, path: str, *messages: Any, **fields: Any) -> httpx.Response:
    """As the Python SDK sends it."""
    form = {"data": json.dumps(messages if len(messages) > 1 else messages[0]), "verbose": 1, "ip": 0, **fields}
    return await sdk.client.post(path, data=form)


@pytest.mark.parametrize(
    ("message", "distinct_id", "properties"),
    [
        (EVENT, "u1", {"a": 1}),
        (event(distinct_id=42), "42", {}),
        (event(distinct_id="$device:d1", **{"$device_id": "d1"}), "$device:d1", {"$device_id": "d1"}),
        (event(distinct_id=None, **{"$user_id": "u2"}), "u2", {"$user_id": "u2"}),
        (event(text="ü 😀 + & %"), "u1", {"text": "ü 😀 + & %"}),
    ],
)
async def test_an_event(sdk: SdkEdge, message: Any, distinct_id: str, properties: dict[str, Any]) -> None:
    response = await send(sdk, "/track", message)
    assert (response.status_code, response.json()["status"]) == (200, 1)
    (kept,) = sdk.events
    assert (kept["event"], kept["distinct_id"], kept["properties"]) == ("bought", distinct_id, properties)
    assert kept["timestamp"] == "2026-11-20T11:00:00Z"


@pytest.mark.parametrize("time", [NOW.timestamp() - 60, int(NOW.timestamp() - 60), int(NOW.timestamp() - 60) * 1000])
async def test_times_are_seconds_or_milliseconds(sdk: SdkEdge, time: float) -> None:
    await send(sdk, "/track", event(time=time))
    assert sdk.events[0]["timestamp"] == "2026-11-20T11:59:00Z"


@pytest.mark.parametrize(
    ("path", "message", "line"),
    [
        (
            "/track",
            {"event": "$identify", "properties": {**OWN, "$anon_distinct_id": "a1"}},
            {"kind": "link", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            "/track",
            {"event": "$identify", "properties": {"token": KEY, "$identified_id": "u1", "$anon_id": "a1"}},
            {"kind": "link", "distinct_id": "u1", "old_id": "a1"},
        ),
        # The alias is the new id.
        (
            "/track",
            {"event": "$create_alias", "properties": {"token": KEY, "distinct_id": "a1", "alias": "u1"}},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            "/import",
            {"event": "$merge", "properties": {"token": KEY, "$distinct_ids": ["a1", "u1"]}},
            {"kind": "alias", "distinct_id": "u1", "old_id": "a1"},
        ),
        (
            "/engage",
            {"$token": KEY, "$distinct_id": "u1", "$set": {"a": 1}},
            {"kind": "identify", "distinct_id": "u1", "traits": {"a": 1}},
        ),
        (
            "/engage",
            {"$token": KEY, "$distinct_id": "u1", "$set_once": {"a": 1}},
            {"kind": "identify", "distinct_id": "u1", "set_once": {"a": 1}},
        ),
        (
            "/engage",
            {"$token": KEY, "$distinct_id": "u1", "$unset": ["a"]},
            {"kind": "identify", "distinct_id": "u1", "traits": {"a": None}},
        ),
        (
            "/groups",
            {"$token": KEY, "$group_key": "company", "$group_id": "acme", "$set": {"seats": 4}},
            {"kind": "group", "group_type": "company", "group_key": "acme", "traits": {"seats": 4}},
        ),
    ],
)
async def test_who_is_who(sdk: SdkEdge, path: str, message: dict[str, Any], line: dict[str, Any]) -> None:
    response = await send(sdk, path, message)
    assert (response.status_code, response.json()["status"]) == (200, 1)
    (kept,) = sdk.identity
    assert {name: kept.get(name) for name in line} == line
    assert not sdk.events


@pytest.mark.parametrize("operation", ["$add", "$append", "$union", "$remove", "$delete"])
@pytest.mark.parametrize("path", ["/engage", "/groups"])
async def test_operations_without_a_place_are_counted(sdk: SdkEdge, path: str, operation: str) -> None:
    before = lost("mixpanel", operation)
    ids = {"$token": KEY, "$distinct_id": "u1", "$group_key": "company", "$group_id": "acme"}
    assert (await send(sdk, path, {**ids, operation: {"a": 1}})).status_code == 200
    assert lost("mixpanel", operation) - before == 1
    assert (await send(sdk, path, {**ids, operation: {"a": 1}, "$set": {"b": 1}})).status_code == 200
    assert lost("mixpanel", operation) - before == 2
    assert [line["traits"] for line in sdk.identity] == [{"b": 1}]


async def test_an_event_that_is_sent_again_is_the_same_one(sdk: SdkEdge) -> None:
    for _ in range(2):
        await send(sdk, "/track", EVENT)
    assert len({kept["event_id"] for kept in sdk.events}) == 1
    others = [
        event(distinct_id="u2"),
        event(time=1_700_000_000),
        {**EVENT, "event": "other"},
        event(**{"$insert_id": 2}),
    ]
    await send(sdk, "/track", *others)
    assert len({kept["event_id"] for kept in sdk.events}) == 5


PHONE = {
    "$mp_event_id": "7829656b4c138de1",
    "$mp_session_id": "97f9ba2c6d0cd29e",
    "$mp_session_seq_id": 0,
    "$mp_session_start_sec": 1795170000,
}
OF_PHONE = {"token": KEY, "distinct_id": "u1", "time": 1795172400}
UPDATE_OF_PHONE = {"$token": KEY, "$distinct_id": "u1", "$time": 1795172400123, "$set": {"a": 1}}
GROUP_OF_PHONE = {"$token": KEY, "$group_key": "company", "$group_id": "acme", "$time": 1795172400123, "$set": {"a": 1}}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/track/?ip=1", {"event": "bought", "properties": OF_PHONE}),
        ("/track/?ip=1", {"event": "$identify", "properties": {**OF_PHONE, "$anon_distinct_id": "a1"}}),
        ("/engage/?ip=1", UPDATE_OF_PHONE),
        ("/groups/?ip=1", GROUP_OF_PHONE),
    ],
)
async def test_messages_of_phones_are_known_by_the_id_beside_their_properties(
    sdk: SdkEdge, path: str, message: dict[str, Any]
) -> None:
    """Swift, Android, React Native, Flutter and Unity give no `$insert_id`, and send a batch again until it is answered."""
    before = lost("mixpanel", "unknown_field")
    batch = [{**message, "$mp_metadata": {**PHONE, "$mp_event_id": one}, "id": 4} for one in ("a1", "a2")]
    for _ in range(2):
        assert (await sdk.client.post(path, json=batch)).text == "1"
    lines = [*sdk.events, *sdk.identity]
    assert len(lines) == 4
    assert len({line["event_id"] for line in lines}) == 2
    assert lost("mixpanel", "unknown_field") == before


@pytest.mark.parametrize("metadata", [None, [], {}, {"$mp_event_id": None}, {"$mp_event_id": {"a": 1}}])
async def test_without_an_id_of_a_phone_each_is_another_one(sdk: SdkEdge, metadata: Any) -> None:
    for _ in range(2):
        await send(sdk, "/track", {"event": "bought", "properties": OF_PHONE, "$mp_metadata": metadata})
        await send(sdk, "/engage", {**UPDATE_OF_PHONE, "$time": 1795172400, "$mp_metadata": metadata})
    assert len({kept["event_id"] for kept in sdk.events}) == len({line["event_id"] for line in sdk.identity}) == 2


@pytest.mark.parametrize(("path", "message"), [("/engage", UPDATE_OF_PHONE), ("/groups", GROUP_OF_PHONE)])
@pytest.mark.parametrize("changed", [{"$set": {"a": 2}}, {"$time": 1795172400.124}])
async def test_an_update_without_an_id_that_is_sent_again_is_the_same(
    sdk: SdkEdge, path: str, message: dict[str, Any], changed: dict[str, Any]
) -> None:
    """As Python's, whose connection breaks."""
    timed = {**message, "$time": 1795172400.123}
    for one in (timed, timed, {**timed, **changed}):
        await send(sdk, path, one)
    assert len(sdk.identity) == 3
    assert len({line["event_id"] for line in sdk.identity}) == 2


@pytest.mark.parametrize("traits", [[], {}])
async def test_an_empty_array_is_an_empty_object(sdk: SdkEdge, traits: Any) -> None:
    """As PHP writes it."""
    assert (await send(sdk, "/engage", {"$token": KEY, "$distinct_id": "u1", "$set": traits})).status_code == 200
    assert not sdk.letters


# Bodies and answers.

AS_JSON = json.dumps(EVENT)
AS_BASE64 = base64.b64encode(AS_JSON.encode()).decode()


@pytest.mark.parametrize(
    ("body", "is_verbose"),
    [
        (urlencode({"data": AS_JSON, "verbose": 1}), True),
        (urlencode({"verbose": 1, "data": AS_BASE64}), True),
        (urlencode({"data": AS_BASE64}), False),
        (urlencode({"data": AS_BASE64, "verbose": 0}), False),
        (AS_JSON, False),
        (json.dumps([EVENT]), False),
        (AS_BASE64, False),
    ],
)
@pytest.mark.parametrize("path", ["/track", "/track/", "/import"])
async def test_the_shapes_of_bodies(sdk: SdkEdge, body: str, is_verbose: bool, path: str) -> None:
    response = await sdk.client.post(path, content=body)
    assert response.status_code == 200
    if path == "/import" and body[0] in "{[":
        assert (response.json()["status"], response.json()["error"]) == ("OK", None)
    elif is_verbose:
        assert (response.json()["status"], response.json()["error"]) == (1, None)
    else:
        assert response.text == "1"
    assert len(sdk.events) == 1


async def test_an_event_in_the_address(sdk: SdkEdge) -> None:
    """npm's SDK."""
    response = await sdk.client.get("/track", params={"data": AS_BASE64, "ip": 0})
    assert (response.status_code, response.text) == (200, "1")
    assert len(sdk.events) == 1
    verbose = await sdk.client.get("/track", params={"data": AS_BASE64, "verbose": 1})
    assert verbose.json()["status"] == 1


@pytest.mark.parametrize("options", [{"auth": (KEY, "")}, {"auth": ("name", KEY)}, {"query": {"api_key": KEY}}])
async def test_an_import_in_the_address(sdk: SdkEdge, options: dict[str, Any]) -> None:
    """import() of npm's SDK."""
    query = {"ip": 0, "verbose": 0, "data": AS_BASE64, **options.pop("query", {})}
    response = await sdk.client.get("/import", params=query, **options)
    assert (response.status_code, response.text) == (200, "1")
    assert sdk.events[0]["timestamp"] == "2026-11-20T11:00:00Z"


async def test_an_emoji_in_two_halves(sdk: SdkEdge) -> None:
    """The browser's SDK encodes each half of a pair."""
    text = json.dumps(event(text="@")).encode().replace(b"@", "\ud83d\ude00".encode("utf-8", "surrogatepass"))
    response = await sdk.client.post("/track", data={"data": base64.b64encode(text).decode()})
    assert response.status_code == 200
    assert sdk.events[0]["properties"] == {"text": "😀"}


@pytest.mark.parametrize(
    ("headers", "query", "token", "status"),
    [
        ({}, "", KEY, 200),
        ({}, "", BOTH_KEY, 403),
        ({}, "", "hr_unknown", 401),
        ({}, "", None, 401),
        ({}, f"?api_key={KEY}", None, 200),
        ({"authorization": "Basic " + base64.b64encode(f"{BOTH_KEY}:".encode()).decode()}, "", None, 200),
        ({"authorization": "Basic " + base64.b64encode(f"name:{BOTH_KEY}".encode()).decode()}, "", KEY, 200),
    ],
)
async def test_where_the_key_may_be(
    sdk: SdkEdge, headers: dict[str, str], query: str, token: str | None, status: int
) -> None:
    body = urlencode({"data": json.dumps(event(token=token)), "verbose": 1})
    response = await sdk.client.post(f"/import{query}", content=body, headers=headers)
    assert (response.status_code, response.json()["status"]) == (status, int(status == 200))
    assert len(sdk.events) == (status == 200)


@pytest.mark.parametrize("options", [{"auth": ("a secret of before", "")}, {"params": {"api_key": "a key of before"}}])
async def test_the_token_counts_where_nothing_is_imported(sdk: SdkEdge, options: dict[str, Any]) -> None:
    """npm's SDK sends what it was given for imports with everything."""
    for path, message in (("/track", EVENT), ("/engage", {"$token": KEY, "$distinct_id": "u1", "$set": {"a": 1}})):
        content = urlencode({"data": json.dumps([message])})
        assert (await sdk.client.post(path, content=content, **options)).text == "1"
    assert (len(sdk.events), len(sdk.identity)) == (1, 1)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"auth": ("a secret of before", "")}, 200),
        ({"params": {"api_key": "a key of before"}}, 200),
        ({"auth": ("importer.1a2b3c.mp-service-account", "a secret"), "params": {"project_id": 1}}, 200),
        ({"auth": ("importer.1a2b3c.mp-service-account", "hr_unknown"), "params": {"project_id": 1}}, 401),
        ({"params": {"api_key": "hr_unknown"}}, 401),
    ],
)
async def test_of_an_import_only_a_key_of_ours_counts_before_the_token(
    sdk: SdkEdge, options: dict[str, Any], status: int
) -> None:
    """An app that has moved here still has Mixpanel's secrets."""
    content = urlencode({"data": json.dumps([EVENT])})
    assert (await sdk.client.post("/import", content=content, **options)).status_code == status
    assert len(sdk.events) == (status == 200)


@pytest.mark.parametrize("parameter", ["api_key", "token"])
async def test_the_key_in_the_address_counts_where_there_is_no_token(sdk: SdkEdge, parameter: str) -> None:
    content = urlencode({"data": json.dumps([event(token=None)])})
    assert (await sdk.client.post("/track", content=content, params={parameter: KEY})).text == "1"
    assert len(sdk.events) == 1


async def test_a_message_of_another_project_is_refused(sdk: SdkEdge) -> None:
    response = await send(sdk, "/track", EVENT, event(token=OTHER_KEY))
    assert response.json()["num_records_imported"] == 1
    assert len(sdk.events) == len(sdk.letters) == 1


@pytest.mark.parametrize(("path", "status"), [("/track", 200), ("/import", 400)])
async def test_none_valid_is_an_error(sdk: SdkEdge, path: str, status: int) -> None:
    response = await send(sdk, path, {"event": "", "properties": OWN})
    assert (response.status_code, response.json()["status"]) == (status, 0)
    assert response.json()["error"]
    assert [code for code, _ in sdk.letters] == ["missing_field"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/track/?ip=1", {"event": "e", "properties": {"token": KEY}}),
        ("/engage/?ip=1", {"$token": KEY, "$set": {"a": 1}}),
        ("/groups/?ip=1", {"$token": KEY, "$set": {"a": 1}}),
    ],
)
async def test_what_none_of_is_valid_does_not_come_again(sdk: SdkEdge, path: str, message: dict[str, Any]) -> None:
    """The SDKs for phones keep what gets no 200, send it again before all else, and never anything else then."""
    response = await sdk.client.post(path, json=[message])
    assert (response.status_code, response.text) == (200, "0")
    assert [code for code, _ in sdk.letters] == ["missing_field"]


async def test_verbose_may_stand_in_the_address(sdk: SdkEdge) -> None:
    """As the browser's SDK asks."""
    response = await sdk.client.post("/track/?verbose=1&ip=1&_=1795176000", content=urlencode({"data": AS_JSON}))
    assert (response.json()["status"], response.json()["error"]) == (1, None)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/engage", {"$token": KEY, "$distinct_id": "u1", "$set": {"a": 1}}),
        ("/groups", {"$token": KEY, "$group_key": "company", "$group_id": "acme", "$set": {"a": "1"}}),
        ("/track", {"event": "$create_alias", "properties": {"token": KEY, "distinct_id": "a1", "alias": "u1"}}),
    ],
)
async def test_json_is_answered_with_a_number_where_nothing_else_is_asked_for(
    sdk: SdkEdge, path: str, message: dict[str, Any]
) -> None:
    """Go's SDK sends profiles, groups and aliases so, and reads nothing else."""
    assert (await sdk.client.post(path, json=[message])).text == "1"
    verbose = await sdk.client.post(f"{path}?verbose=1", json=[message])
    assert (verbose.json()["status"], verbose.json()["error"]) == (1, None)
    assert len(sdk.identity) == 2


async def test_an_import_of_lines(sdk: SdkEdge) -> None:
    lines = [json.dumps({**EVENT, "properties": {**EVENT["properties"], "$insert_id": one}}) for one in ("1", "2")]
    content = "\r\n".join([*lines, "", "null", ""])
    headers = {"content-type": "application/x-ndjson"}
    for path in ("/import?strict=1", "/import"):
        assert (await sdk.client.post(path, content=content, headers=headers)).status_code == 200
    assert len({event["event_id"] for event in sdk.events}) == 2
    assert len(sdk.events) == 4
    nothing = await sdk.client.post(f"/import?token={KEY}", content="\n", headers=headers)
    assert (nothing.status_code, nothing.json()["status"]) == (200, "OK")


@pytest.mark.parametrize("bad", ['{"event":"e","properties":{"a":"', "}]", '"', '[{"event":"e"}]', "{}"])
async def test_of_an_import_of_lines_a_bad_one_costs_itself(sdk: SdkEdge, bad: str) -> None:
    lines = [json.dumps({**EVENT, "properties": {**EVENT["properties"], "$insert_id": one}}) for one in ("1", "2")]
    headers = {"content-type": "application/x-ndjson"}
    response = await sdk.client.post("/import", content="\n".join([lines[0], bad, lines[1]]), headers=headers)
    assert (response.status_code, response.json()["num_records_imported"]) == (200, 2)
    assert [payload for _, payload in sdk.letters] == [bad]
