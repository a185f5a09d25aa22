"""What all SDK surfaces share: holding while the log is away, limits, web pages, and the native calls beside them."""

import inspect
import json
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest

from services.contract.api.errors import ErrorCode
from services.contract.api.sdk import FAMILIES as NAMES
from services.contract.api.sdk import GET_PATHS, LOST, POST_PATHS
from services.contract.repeated_names import first_of_each_name
from services.edge.protocols import taken
from services.edge.protocols.families import FAMILIES
from services.edge.protocols.family import Options
from services.runtime.settings import EdgeSettings
from tests.unit.edge.protocols.conftest import KEY, OTHER_KEY, SdkEdge, lost

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


@every_family
async def test_what_is_lost_is_counted_once_however_often_the_log_was_away(sdk: SdkEdge, family: str) -> None:
    """An SDK sends what gets a 503 up to ten times."""
    path, body = CALLS[family]
    text = json.dumps(body).replace('"m"', '"null"')
    before = lost(family, "placeholder_key")
    for available, status in ((False, 503), (False, 503), (True, 200)):
        sdk.log.available = available
        assert (await sdk.client.post(path, content=text)).status_code == status
    assert lost(family, "placeholder_key") - before == 1


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
        ("2026-11-20T10:00:011234+01:00", "2026-11-20T09:00:01.123400Z"),  # PHP's, of `microtime(true)`
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
@pytest.mark.parametrize(
    "time", ["soon", "2026-11-20T10:00:991234+01:00", "2026-11-20T10:00:011234", "-1795165201", "9" * 30, {}, [], True]
)
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


async def test_two_keys_in_headers_of_jitsu_are_refused(sdk: SdkEdge) -> None:
    twice = [("x-write-key", f"a:{KEY}"), ("x-write-key", f"b:{OTHER_KEY}")]
    body = {"event": "e", "userId": "u"}
    assert (await sdk.client.post("/api/s/track", json=body, headers=twice)).status_code == 401
    assert (await sdk.client.post("/api/s/track", json=body, headers=twice[:1])).status_code == 200


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


@every_family
async def test_a_method_that_an_address_does_not_take_is_405(sdk: SdkEdge, family: str) -> None:
    """It said that there is no such address, to whoever looked with a browser whether there is one."""
    for path in {*POST_PATHS[family], *GET_PATHS[family]}:
        for method in ("GET", "PUT", "DELETE"):
            if method == "GET" and any(path in paths for paths in GET_PATHS.values()):
                continue
            response = await sdk.client.request(method, path.replace("*", "key"), headers={"origin": PAGE})
            assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
            takes = [
                name
                for name, of in (("POST", POST_PATHS), ("GET", GET_PATHS))
                if any(path in one for one in of.values())
            ]
            assert response.headers["allow"] == ", ".join([*takes, "OPTIONS"])
            assert response.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/projects/{KEY}/settings", 200),
        ("/sourceConfig/", 200),
        (f"/array/{KEY}/config.js", 200),
        ("/flags/", 200),
        (f'/track?data={{"event":"e","properties":{{"distinct_id":"u","token":"{KEY}"}}}}', 405),
        ("/v1/batch", 405),
    ],
)
async def test_a_head_asks_for_a_page_and_sends_nothing(sdk: SdkEdge, path: str, status: int) -> None:
    assert (await sdk.client.head(path)).status_code == status
    assert sdk.is_empty


@pytest.mark.parametrize(
    "sdk", [{"families": ("amplitude", "posthog")}, {"families": ("posthog", "amplitude")}], indirect=True
)
async def test_the_order_in_which_families_are_named_means_nothing(sdk: SdkEdge) -> None:
    """Both have the address /batch."""
    posthog = {"batch": [{"event": "of_posthog", "distinct_id": "u"}]}
    assert (await sdk.client.post(f"/batch/?token={KEY}", json=posthog)).json() == {"status": 1}
    refused = await sdk.client.post("/batch", content=b"x" * 3_000_000)
    assert (refused.status_code, refused.json()["code"]) == (413, 413)


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


# What is said once for several messages of ours.


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/2/httpapi",
            {
                "api_key": KEY,
                "events": [
                    {
                        "event_type": "$groupidentify",
                        "groups": {"company": [f"c{i}" for i in range(2000)]},
                        "group_properties": {"of": "x" * 20_000},
                    }
                ],
            },
        ),
        (
            "/2/httpapi",
            {
                "api_key": KEY,
                "events": [{"event_type": "$identify", "user_id": "u", "groups": {"c": list(range(100_000))}}],
            },
        ),
        ("/track", {"event": "$merge", "properties": {"token": KEY, "$distinct_ids": list(range(1, 100_000))}}),
    ],
)
async def test_one_message_does_not_become_as_many_as_take_all_memory(sdk: SdkEdge, path: str, body: Any) -> None:
    response = await sdk.client.post(path, json=body)
    assert response.status_code == (400 if path == "/2/httpapi" else 200)
    assert not sdk.identity
    assert [code for code, _ in sdk.letters] == ["event_too_large"]


@pytest.mark.parametrize("sdk", [{"options": Options(request_properties=True)}], indirect=True)
async def test_of_a_long_header_the_beginning_is_kept(sdk: SdkEdge) -> None:
    """It becomes a property of up to 5000 events."""
    headers = {"user-agent": "x" * 30_000, "posthog-sdk-info": "y" * 30_000, "authorization": f"Bearer {KEY}"}
    body = {"batch": [{"event": "e", "distinct_id": "u", "uuid": "m"}]}
    await sdk.client.post("/i/v1/analytics/events", json=body, headers=headers)
    properties = sdk.events[0]["properties"]
    assert (properties["$user_agent"], properties["$lib"]) == ("x" * 1000, "y" * 1000)


# Odd JSON in the messages.

TWICE = b'{"plan":"free","plan":"pro"}'
# Of each family: an address, a body, and how often it says the plan.
NAMES_TWICE: dict[str, tuple[str, bytes, int]] = {
    "segment": (
        "/v1/batch",
        b'{"writeKey":"%(key)b","batch":[{"type":"track","event":"e","userId":"u","properties":%(twice)b},'
        b'{"type":"identify","userId":"u","traits":{},"context":{"traits":%(twice)b}},'
        b'{"type":"identify","userId":"u","traits":%(twice)b,"context":{"traits":{"plan":"older"}}}]}',
        3,
    ),
    "posthog": (
        "/batch/",
        b'{"api_key":"%(key)b","batch":[{"event":"e","distinct_id":"u","properties":%(twice)b,"$set":%(twice)b},'
        b'{"event":"e","distinct_id":"u","properties":{"plan":"free", "plan" :"pro","token":"t","$set":%(twice)b}},'
        b'{"event":"$identify","distinct_id":"u","$set_once":{"a":1},"$unset":["b"],"$set":%(twice)b}]}',
        5,
    ),
    "amplitude": (
        "/2/httpapi",
        b'{"api_key":"%(key)b","events":[{"event_type":"e","user_id":"u","event_properties":%(twice)b,'
        b'"user_properties":{"$set":%(twice)b}},{"event_type":"$identify","user_id":"u","user_properties":%(twice)b}]}',
        3,
    ),
    "mixpanel": (
        "/track",
        b'[{"event":"e","properties":{"token":"%(key)b","distinct_id":"u","plan":"free","plan":"pro"}},'
        b'{"event":"e","properties":{"token":"%(key)b","distinct_id":"u","pl\\u0061n":"free","plan":"pro"}}]',
        2,
    ),
}


@every_family
async def test_of_a_name_that_stands_twice_the_first_counts(sdk: SdkEdge, family: str) -> None:
    path, body, times = NAMES_TWICE[family]
    response = await sdk.client.post(path, content=body % {b"key": KEY.encode(), b"twice": TWICE})
    assert response.status_code == 200
    said = [json.loads(first_of_each_name(line)) for line in [*sdk.log.event_lines, *sdk.log.identity_lines]]
    found = [line.get("properties", {}).get("plan") or line["traits"]["plan"] for line in said]
    assert found == ["free"] * times


async def test_a_number_that_no_double_holds_costs_its_message_on_whichever_line_it_stands(sdk: SdkEdge) -> None:
    """A fault elsewhere keeps the body on its lines."""
    message = b'{"event":"%b","distinct_id":"u","properties":{"x":\n%b}}'
    messages = [message % (b"large", b"1e400"), message % (b"good", b"1e40"), message % (b"no JSON", b"\x01")]
    body = b'{"api_key":"%b","batch":[%b]}' % (KEY.encode(), b",".join(messages))
    assert (await sdk.client.post("/batch/", content=body)).status_code == 200
    assert [event["event"] for event in sdk.events] == ["good"]
    assert [code for code, _ in sdk.letters] == ["invalid_field", "invalid_json"]


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        # The first has no id, and no time that is its own: the others are asked whether they tell the request.
        ("/batch/?token=%b", b'{"event":"e","distinct_id":"u"}', b'{"event":"e","distinct_id":"u","messageId":1e400}'),
        (
            "/engage?token=%b",
            b'{"$distinct_id":"u","$set":{"a":1}}',
            b'{"$distinct_id":"u","$set":{"a":1},"$mp_metadata":{"$mp_event_id":1e400}}',
        ),
        # Nobody but the messages has the key: all are looked through for it.
        (
            "/track",
            b'{"event":"e","properties":{"distinct_id":"u","token":"%b"}}',
            b'{"event":"e","properties":{"distinct_id":"u","token":1e400}}',
        ),
        (
            "/e/",
            b'{"event":"e","distinct_id":"u","properties":{"token":"%b"}}',
            b'{"event":"e","distinct_id":"u","properties":{"token":1e400}}',
        ),
        (
            "/v1/batch?writeKey=%b",
            b'{"type":"track","event":"e","userId":"u"}',
            b'{"type":"track","event":"e","userId":"u","context":{"library":{"name":1e400},"groupId":1e400}}',
        ),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
async def test_what_is_read_of_all_messages_at_once_costs_the_one_that_has_a_fault(
    sdk: SdkEdge, path: str, good: bytes, bad: bytes, is_first: bool
) -> None:
    key = KEY.encode()
    messages = [one.replace(b"%b", key) for one in ((bad, good) if is_first else (good, bad))]
    body = b"[%b]" % b",".join(messages)
    if "batch" in path:
        body = b'{"batch":%b}' % body
    assert (await sdk.client.post(path.replace("%b", KEY), content=body)).status_code == 200
    assert len(sdk.events) + len(sdk.identity) == 1
    assert [payload for _, payload in sdk.letters] == [messages[0 if is_first else 1].decode()]


# Of each family: an address, what is before the messages and behind them, and a message.
BATCHES: dict[str, tuple[str, bytes, bytes, bytes]] = {
    "segment": (
        "/v1/batch",
        b'{"writeKey":"%b","batch":[',
        b"]}",
        b'{"type":"track","event":"%b","userId":"u","messageId":"%b","properties":%b,"context":{}}',
    ),
    "posthog": (
        "/batch/",
        b'{"api_key":"%b","batch":[',
        b"]}",
        b'{"event":"%b","distinct_id":"u","uuid":"%b","properties":%b}',
    ),
    "amplitude": (
        "/2/httpapi",
        b'{"api_key":"%b","events":[',
        b"]}",
        b'{"event_type":"%b","user_id":"u","insert_id":"%b","event_properties":%b}',
    ),
    "mixpanel": (
        "/track?token=%b",
        b"[",
        b"]",
        b'{"event":"%b","properties":{"distinct_id":"u","$insert_id":"%b","x":%b}}',
    ),
}


@every_family
@pytest.mark.parametrize("messages", [2, 30])
async def test_what_is_no_utf_8_costs_its_message_and_no_line_is_cut(sdk: SdkEdge, family: str, messages: int) -> None:
    """The fault keeps the body on its lines; a newline in a line of ours would cost all events of its record."""
    path, head, end, message = BATCHES[family]
    texts = [message % (b"good", b"m%d" % n, b'{"x":\n1}') for n in range(messages - 1)]
    body = b",".join([*texts, message % (b"bad", b"m", b'{"x":"\xff"}')])
    key = KEY.encode()
    response = await sdk.client.post(path.replace("%b", KEY), content=head.replace(b"%b", key) + body + end)
    assert response.status_code == 200
    assert [event["event"] for event in sdk.events] == ["good"] * (messages - 1)
    assert [code for code, _ in sdk.letters] == ["invalid_json"]


MIXPANEL = '{"event":"café 😀","properties":{"token":"hr_ingest","distinct_id":"u","at":"/?a=1&data=2"}}'
POSTHOG = '{"api_key":"hr_ingest","event":"café 😀","distinct_id":"u","properties":{"at":"/?a=1&data=2"}}'
AMPLITUDE = (
    '{"api_key":"hr_ingest","events":[{"event_type":"café 😀","user_id":"u","event_properties":{"at":"/?a=1&e=2"}}]}'
)
SEGMENT = '{"writeKey":"hr_ingest","event":"café 😀","userId":"u","properties":{"at":"/?a=1&data=2"}}'


@pytest.mark.parametrize("before", ["", "\ufeff", " ", "\r\n", "\ufeff \n"])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/track", MIXPANEL),
        ("/import", f"[{MIXPANEL}]"),
        ("/e/", POSTHOG),
        ("/batch", f'{{"api_key":"hr_ingest","batch":[{POSTHOG}]}}'),
        ("/batch", AMPLITUDE),
        ("/2/httpapi", AMPLITUDE),
        ("/v1/track", SEGMENT),
    ],
)
async def test_json_is_json_behind_a_byte_order_mark_and_blanks(
    sdk: SdkEdge, path: str, text: str, before: str
) -> None:
    response = await sdk.client.post(path, content=(before + text).encode())
    assert response.status_code == 200
    (event,) = sdk.events
    assert event["event"] == "café 😀"
    assert event["properties"]["at"].startswith("/?a=1&")


@pytest.mark.parametrize("before", ["", "\ufeff", "\n"])
@pytest.mark.parametrize(("path", "text"), [("/track", MIXPANEL), ("/e/", POSTHOG)])
async def test_a_form_may_have_letters_as_they_are(sdk: SdkEdge, path: str, text: str, before: str) -> None:
    text = before + text.replace("&", "%26")
    for body in (f"data={text}", f"ip=1&data={text}", f"data={quote(unquote(text))}"):
        assert (await sdk.client.post(path, content=body.encode())).status_code == 200
    assert [(event["event"], event["properties"]["at"]) for event in sdk.events] == [("café 😀", "/?a=1&data=2")] * 3


@pytest.mark.parametrize(("path", "text"), [("/track", MIXPANEL), ("/e/", POSTHOG), ("/v1/track", SEGMENT)])
async def test_where_the_key_cannot_be_read_the_answer_says_why(sdk: SdkEdge, path: str, text: str) -> None:
    response = await sdk.client.post(path, content=text.replace(" 😀", "").encode("latin-1"))
    assert response.status_code == 400
    assert "not valid UTF-8" in response.text


@pytest.mark.parametrize(("path", "text"), [("/track", MIXPANEL), ("/e/", POSTHOG)])
async def test_a_form_may_be_escaped_as_latin_1(sdk: SdkEdge, path: str, text: str) -> None:
    text = text.replace(" 😀", "")
    escaped = quote(unquote(text).encode("latin-1"))
    for body in (f"data={escaped}", f"ip=caf%C3%A9&data={escaped}"):
        assert (await sdk.client.post(path, content=body.encode())).status_code == 200
    if path == "/track":
        assert (await sdk.client.get(f"{path}?data={escaped}")).status_code == 200
    assert {event["event"] for event in sdk.events} == {"café"}


_MANY = {str(number): number for number in range(1001)}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/e/", {"event": "e", "distinct_id": "u", "uuid": "m", "api_key": KEY, "$set": "none"}, 400),
        ("/e/", {"event": "e", "distinct_id": "u", "api_key": KEY, "properties": {"$set_once": _MANY}}, 400),
        (
            "/2/httpapi",
            {"api_key": KEY, "events": [{"event_type": "e", "user_id": "u", "user_properties": _MANY}]},
            400,
        ),
        (
            "/2/httpapi",
            {"api_key": KEY, "events": [{"event_type": "$identify", "user_id": "u", "groups": {"g" * 201: "acme"}}]},
            400,
        ),
        ("/track", {"event": "$merge", "properties": {"token": KEY, "$distinct_ids": ["a", "b", "null"]}}, 200),
        ("/e/", {"event": "e", "distinct_id": "u", "api_key": KEY, "$unset": "plan"}, 400),
        ("/engage", {"$token": KEY, "$distinct_id": "u", "$unset": "plan"}, 200),
        ("/groups", {"$token": KEY, "$group_key": "company", "$group_id": "acme", "$unset": 7}, 200),
        ("/v1/identify", {"userId": "u", "anonymousId": "null", "traits": _MANY, "writeKey": KEY}, 400),
        (
            "/e/",
            {
                "event": "$identify",
                "api_key": KEY,
                "distinct_id": "u",
                "properties": {"$anon_distinct_id": "null", "$set": _MANY},
            },
            400,
        ),
        (
            "/2/httpapi",
            {"api_key": KEY, "events": [{"event_type": "$identify", "user_id": "u", "device_id": "null", "groups": 1}]},
            400,
        ),
    ],
)
async def test_a_message_is_taken_or_a_dead_letter(sdk: SdkEdge, path: str, body: Any, status: int) -> None:
    """Of one whose second part is wrong the first was kept, and the answer said that nothing was. One whose link was refused
    before became two letters."""
    response = await sdk.client.post(path, json=body)
    assert response.status_code == status
    assert response.text != "1"
    assert not sdk.events
    assert not sdk.identity
    assert len(sdk.letters) == 1


@pytest.mark.parametrize(
    ("path", "bad", "good"),
    [
        ("/track", {"event": "e", "properties": {"distinct_id": "u", "token": 0}}, MIXPANEL),
        ("/e/", {"event": "e", "distinct_id": "u", "properties": {"token": 0}}, POSTHOG),
        ("/e/", {"event": "e", "distinct_id": "u", "messageId": 0}, POSTHOG),
    ],
)
async def test_a_key_that_is_no_number_costs_its_message(sdk: SdkEdge, path: str, bad: Any, good: str) -> None:
    body = f"[{json.dumps(bad).replace(': 0', ': 1e999')},{good}]"
    assert (await sdk.client.post(path, content=body.encode())).status_code == 200
    assert [event["event"] for event in sdk.events][-1] == "café 😀"
