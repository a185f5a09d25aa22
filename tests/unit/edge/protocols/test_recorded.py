"""Requests of SDKs of Java and Go, and of two for browsers, as they were on the wire but for key, ids and days: what becomes
of each, that it is stored once when it is sent again, and that the SDK takes the answer for a success."""

import base64
import gzip
import json
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.unit.edge.protocols.conftest import BOTH_KEY, KEY, SdkEdge, lost

SEGMENT_JAVA = """{"batch":[
{"type":"track","messageId":"672eeaeb-2ea8-487f-9080-dee24a0588c4","timestamp":"2026-11-19T12:40:20.250Z",
"anonymousId":"device","integrations":{},"event":"seen","properties":{"tiny":1.0E-9,"text":"\\u003cb\\u003e \\u2028"}},
{"type":"identify","messageId":"6a9db670-1b05-4690-bce6-133289322082","timestamp":"2026-11-19T12:40:21.250Z",
"anonymousId":"device","userId":"ada","integrations":{},"traits":{"plan":"pro"}},
{"type":"group","messageId":"80bd3957-697f-4347-9718-4ff45b1b250e","timestamp":"2026-11-19T12:40:23.250Z",
"userId":"ada","integrations":{},"groupId":"acme","traits":{"seats":4}},
{"type":"screen","messageId":"0987f2c8-4167-4dec-9b5e-2ede489b6f20","timestamp":"2026-11-19T12:40:27.250Z",
"userId":"ada","integrations":{},"name":"Main","properties":{"path":"/m"}},
{"type":"alias","messageId":"02445031-5c23-49a7-b130-c191932245c9","timestamp":"2026-11-19T12:40:28.250Z",
"userId":"ada","integrations":{},"previousId":"old"}],"sentAt":"2026-11-19T14:40:23.150Z",
"context":{"library":{"name":"analytics-java","version":"3.5.4"},"instanceId":"b0e05c78-9bad-45b8-ba09-8e5e04060338"},
"sequence":1,"writeKey":"hr_ingest"}"""
RUDDER_JAVA = """{"batch":[
{"type":"track","messageId":"361436be-c7b3-42dc-a0ad-83b0ff57d2ed","channel":"server",
"timestamp":"2026-11-19T12:40:28.250Z","context":{"library":{"name":"analytics-java","version":"3.1.2"}},
"anonymousId":"device","integrations":{},"event":"seen","properties":{"tiny":1.0E-9}},
{"type":"identify","messageId":"8c210bf3-88d0-4292-9447-aaad6313ed84","channel":"server",
"timestamp":"2026-11-19T12:40:29.250Z","context":{"library":{"name":"analytics-java","version":"3.1.2"}},
"anonymousId":"device","userId":"ada","integrations":{},"traits":{"plan":"pro"}}],
"sentAt":"2026-11-19T14:40:30.989Z","context":{"library":{"name":"analytics-java","version":"3.1.2"}},"sequence":1}"""
POSTHOG_JAVA = """{"api_key":"hr_ingest","batch":[
{"$lib":"posthog-java","distinct_id":"device","event":"seen","uuid":"dfb73abb-661d-4c39-8073-75ec50b51ffa",
"properties":{"tiny":1.0E-9,"text":"<\\/b>"},"timestamp":"2026-11-19T14:39:07.339607444Z"},
{"$lib":"posthog-java","distinct_id":"ada","event":"$identify","uuid":"bd5e6b97-50f7-4fd0-a996-0f1c6a29f285",
"properties":{"$set":{"plan":"pro"}},"timestamp":"2026-11-19T14:39:07.342986491Z"},
{"$lib":"posthog-java","distinct_id":"ada","event":"$create_alias","uuid":"96527a01-cbfd-40f8-b612-f777581f9a3e",
"properties":{"alias":"old","distinct_id":"ada"},"timestamp":"2026-11-19T14:39:07.344054329Z"},
{"$lib":"posthog-java","distinct_id":"ada","event":"$set_once","uuid":"2614dc3c-9810-40ca-9aa0-76e8b660e3c6",
"properties":{"$set_once":{"first":1}},"timestamp":"2026-11-19T14:39:07.344282789Z"},
{"$lib":"posthog-java","distinct_id":"ada","event":"$set","uuid":"6b1d14cb-4037-423d-8a12-f74efd57fa22",
"properties":{"$set":{"later":2}},"timestamp":"2026-11-19T14:39:07.344448445Z"}]}"""
POSTHOG_SERVER = """{"api_key":"hr_ingest","batch":[
{"event":"seen","distinct_id":"device","properties":{"$lib":"posthog-server","$lib_version":"2.3.3","tiny":1.0E-9},
"timestamp":"2026-11-20T09:59:14.250Z","uuid":"01a227be-faf4-7765-9341-36f85dcae481"},
{"event":"$identify","distinct_id":"ada","properties":{"$set":{"plan":"pro"},"$lib":"posthog-server",
"$lib_version":"2.3.3"},"timestamp":"2026-11-20T11:59:17.244Z","uuid":"01a227be-fafc-7fa0-87d8-6b707dd005f6"},
{"event":"$groupidentify","distinct_id":"ada","properties":{"$lib":"posthog-server","$lib_version":"2.3.3",
"$group_type":"company","$group_key":"acme","$group_set":{"seats":4}},"timestamp":"2026-11-20T11:59:17.245Z",
"uuid":"01a227be-fafd-7b1f-84e0-8f9016f7ae4c"},
{"event":"$create_alias","distinct_id":"ada","properties":{"$lib":"posthog-server","$lib_version":"2.3.3",
"alias":"old"},"timestamp":"2026-11-20T11:59:17.246Z","uuid":"01a227be-fafe-7922-b516-78ade3b19ee3"}],
"sent_at":"2026-11-20T11:59:17.338Z"}"""
POSTHOG_GO = """{"api_key":"hr_ingest","batch":[
{"type":"capture","uuid":"","library":"posthog-go","library_version":"1.5.2","timestamp":"2026-11-19T12:38:08.25Z",
"distinct_id":"device","event":"seen","properties":{"$lib":"posthog-go","$lib_version":"1.5.2","tiny":1e-9},
"send_feature_flags":false},
{"type":"identify","library":"posthog-go","library_version":"1.5.2","timestamp":"2026-11-19T12:38:09.25Z",
"event":"$identify","distinct_id":"ada","properties":{"$lib":"posthog-go","$lib_version":"1.5.2"},
"$set":{"plan":"pro"}},
{"library":"posthog-go","library_version":"1.5.2","timestamp":"2026-11-19T12:38:11.25Z","event":"$groupidentify",
"distinct_id":"$company_acme","properties":{"$group_key":"acme","$group_set":{"seats":4},"$group_type":"company",
"$lib":"posthog-go","$lib_version":"1.5.2"}},
{"type":"alias","library":"posthog-go","library_version":"1.5.2","timestamp":"2026-11-19T12:38:14.25Z",
"properties":{"distinct_id":"ada","alias":"old","$lib":"posthog-go","$lib_version":"1.5.2"},
"event":"$create_alias"}]}"""
_AMPLITUDE_EVENT = """{"country":null,"device_model":null,"city":null,"user_properties":%s,"language":null,"platform":null,
"device_manufacturer":null,"location_lng":0,"event_type":"%s","library":"amplitude-java/1.13.0","adid":null,
"partner_id":null,"idfv":null,"location_lat":0,"event_properties":%s,"device_id":%s,"group_properties":%s,
"os_version":null,"idfa":null,"ip":null,"session_id":-1,"groups":%s,"carrier":null,"version_name":null,"event_id":0,
"insert_id":"%s","user_id":%s,"device_brand":null,"os_name":null,"dma":null,"time":1795092011250,"region":null,
"android_id":null}"""
_SEEN = ("{}", "seen", '{"tiny":1.0E-9}', '"device"', "{}", "{}", "bd832af3", "null")
_ADA = ('{"$set":{"plan":"pro"}}', "$identify", "{}", '"device"', "{}", "{}", "53c22f15", '"ada"')
_ACME = ("{}", "$groupidentify", "{}", "null", '{"$set":{"seats":4}}', '{"company":"acme"}', "20115fe0", '"ada"')
_EVENTS = ",".join(_AMPLITUDE_EVENT % one for one in (_SEEN, _ADA, _ACME))
AMPLITUDE_JAVA = f'{{"api_key":"hr_ingest","events":[{_EVENTS}]}}'
_OLD_EVENT = """{"device_id":"device","user_id":%s,"timestamp":1795092011250,"event_id":1,"session_id":1795092008581,
"event_type":"%s","version_name":null,"platform":"Web","os_name":"Chrome","os_version":"156","device_model":"Linux",
"device_manufacturer":null,"language":"en-US","api_properties":{},"event_properties":%s,"user_properties":%s,"uuid":"%s",
"library":{"name":"amplitude-js","version":"8.21.10"},"sequence_number":1,"groups":%s,"group_properties":%s,
"user_agent":"Mozilla/5.0","partner_id":null}"""
_OLD_EVENTS = ",".join(
    _OLD_EVENT % one
    for one in (
        ("null", "seen", '{"tiny":1e-9,"text":"\u00fc\U0001f600 & = % +"}', "{}", "f1de4236", "{}", "{}"),
        ('"ada"', "$identify", "{}", '{"$set":{"plan":"pro"}}', "53c22f15", "{}", "{}"),
        ('"ada"', "$groupidentify", "{}", "{}", "20115fe0", '{"company":"acme"}', '{"$set":{"seats":4}}'),
    )
)


def amplitude_js(events: str, upload_time: str = "1795176000000", key: str = KEY) -> bytes:
    fields = {"checksum": "7bdc8e61", "client": key, "e": f"[{events}]", "upload_time": upload_time, "v": "2"}
    return urlencode(fields, quote_via=quote).encode()


MIXPANEL_JAVA = """[
{"event":"seen","properties":{"distinct_id":"device","tiny":1.0E-9,"time":1795092011250,"mp_lib":"jdk",
"token":"hr_ingest"}},
{"event":"$identify","properties":{"$anon_distinct_id":"device","distinct_id":"ada","$identified_id":"ada",
"time":1795092012250,"mp_lib":"jdk","token":"hr_ingest"}},
{"event":"$create_alias","properties":{"distinct_id":"old","alias":"ada","time":1795092013780,"mp_lib":"jdk",
"token":"hr_ingest"}}]"""
MIXPANEL_JAVA_IMPORT = """[
{"event":"seen","properties":{"$insert_id":"9ec8ead22e67489ab9b06b918ff9fac5","distinct_id":"device","tiny":1.0E-9,
"time":1795092011250,"mp_lib":"jdk","token":"hr_ingest"}},
{"event":"$identify","properties":{"$anon_distinct_id":"device","$insert_id":"02f16ef257374aa7821359836ce68521",
"distinct_id":"ada","$identified_id":"ada","time":1795092012250,"mp_lib":"jdk","token":"hr_ingest"}}]"""

Identity = tuple[str, str | None, str | None, dict[str, Any], dict[str, Any]]
LINK: Identity = ("link", "ada", "device", {"plan": "pro"}, {})
LINK_ALONE: Identity = ("link", "ada", "device", {}, {})
TRAITS: Identity = ("identify", "ada", None, {"plan": "pro"}, {})
ALIAS: Identity = ("alias", "ada", "old", {}, {})
GROUP: Identity = ("group", "ada", None, {"seats": 4}, {})
GROUP_ALONE: Identity = ("group", None, None, {"seats": 4}, {})
# After group(): the traits of the context are the group's.
JITSU = """{"type":"track","event":"seen","properties":{"tiny":1e-9},"userId":null,
"anonymousId":"device","groupId":"acme","timestamp":"2026-11-19T12:47:03.706Z","sentAt":"2026-11-19T12:47:03.706Z",
"messageId":"yieh4gybi6k5ewknvwsv","writeKey":"any:***","context":{"library":{"name":"@jitsu/js","version":"1.11.0",
"env":"node"},"traits":{"seats":4},"page":{},"clientIds":{},"campaign":{}}}"""
# By SDK: address, headers, body; the time of its event, its messages about people, and what tells it that all is well.
RECORDED: dict[str, tuple[str, dict[str, str], bytes, str, list[Identity], str | dict[str, Any]]] = {
    "segment java 3.5.4": (
        "/v1/import/",
        {"content-type": "application/json; charset=UTF-8"},
        SEGMENT_JAVA.encode(),
        "2026-11-19T12:40:20.250000Z",
        [LINK, GROUP, ALIAS],
        {"success": True},
    ),
    "rudder java 3.1.2": (
        "/v1/batch",
        {"content-type": "application/json", "content-encoding": "gzip", "authorization": "Basic aHJfaW5nZXN0Og=="},
        gzip.compress(RUDDER_JAVA.encode()),
        "2026-11-19T12:40:28.250000Z",
        [LINK],
        {"success": True},
    ),
    "jitsu 1.11.0": (
        "/api/s/track",
        {"content-type": "application/json", "x-write-key": "any:hr_ingest"},
        JITSU.encode(),
        "2026-11-19T12:47:03.706000Z",
        [],
        {"success": True},
    ),
    "posthog java 1.2.0": (
        "/batch",
        {"content-type": "application/json; charset=utf-8"},
        POSTHOG_JAVA.encode(),
        "2026-11-19T14:39:07.339607Z",
        [TRAITS, ALIAS, ("identify", "ada", None, {}, {"first": 1}), ("identify", "ada", None, {"later": 2}, {})],
        {"status": 1},
    ),
    "posthog-server 2.3.3": (
        "/batch",
        {"content-type": "application/json; charset=utf-8", "content-encoding": "gzip"},
        gzip.compress(POSTHOG_SERVER.encode()),
        "2026-11-20T09:59:14.250000Z",
        [TRAITS, GROUP_ALONE, ALIAS],
        {"status": 1},
    ),
    "posthog-go 1.5.2": (
        "/batch/",
        {"content-type": "application/json"},
        POSTHOG_GO.encode(),
        "2026-11-19T12:38:08.250000Z",
        [TRAITS, GROUP_ALONE, ALIAS],
        {"status": 1},
    ),
    "amplitude java 1.13.0": (
        "/2/httpapi",
        {"content-type": "application/json"},
        AMPLITUDE_JAVA.encode(),
        "2026-11-19T12:40:11.250000Z",
        [LINK, GROUP_ALONE],
        {"code": 200, "events_ingested": 3},
    ),
    "amplitude-js 8.21.10": (
        "/2/httpapi",
        {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"},
        amplitude_js(_OLD_EVENTS),
        "2026-11-19T12:40:11.250000Z",
        [LINK, GROUP_ALONE],
        "success",
    ),
    "mixpanel java 1.6.1": (
        "/track?ip=0",
        {"content-type": "application/x-www-form-urlencoded;charset=utf8"},
        b"data=" + quote(base64.b64encode(MIXPANEL_JAVA.encode())).encode(),
        "2026-11-19T12:40:11.250000Z",
        [LINK_ALONE, ALIAS],
        "1",
    ),
    "mixpanel java 1.6.1, import": (
        "/import?strict=1",
        {
            "content-type": "application/json",
            "content-encoding": "gzip",
            "authorization": "Basic aHJfaW5nZXN0Og==",
        },
        gzip.compress(MIXPANEL_JAVA_IMPORT.encode()),
        "2026-11-19T12:40:11.250000Z",
        [LINK_ALONE],
        {"status": "OK", "code": 200},
    ),
}
every_sdk = pytest.mark.parametrize("name", list(RECORDED))


async def send(sdk: SdkEdge, name: str) -> httpx.Response:
    path, headers, body, *_ = RECORDED[name]
    return await sdk.client.post(path, content=body, headers=headers)


@every_sdk
async def test_all_of_a_request_arrives(sdk: SdkEdge, name: str) -> None:
    *_, time, identity, success = RECORDED[name]
    families = ("segment", "posthog", "amplitude", "mixpanel")
    before = {family: lost(family, "unknown_field") for family in families}
    response = await send(sdk, name)
    assert response.status_code == 200
    if isinstance(success, str):
        assert response.text == success
    else:
        answer = response.json()
        assert {key: answer.get(key) for key in success} == success
    event = sdk.events[0]
    assert (event["event"], event["distinct_id"], event["timestamp"]) == ("seen", "device", time)
    assert event["properties"]["tiny"] == 1e-9
    assert [
        (one["kind"], one.get("distinct_id"), one.get("old_id"), one.get("traits", {}), one.get("set_once", {}))
        for one in sdk.identity
    ] == identity
    assert not sdk.letters
    assert {family: lost(family, "unknown_field") for family in families} == before


@every_sdk
async def test_a_request_that_is_sent_again_is_the_same(sdk: SdkEdge, name: str) -> None:
    await send(sdk, name)
    once = len(sdk.events), len(sdk.identity)
    await send(sdk, name)
    assert (len(sdk.events), len(sdk.identity)) == (2 * once[0], 2 * once[1])
    assert len({event["event_id"] for event in sdk.events}) == once[0]
    assert len({line["event_id"] for line in sdk.identity}) == once[1]


async def test_the_library_of_posthog_java_is_a_property(sdk: SdkEdge) -> None:
    """It stands beside the properties."""
    await send(sdk, "posthog java 1.2.0")
    assert [event["properties"]["$lib"] for event in sdk.events] == ["posthog-java"]


async def test_an_event_of_jitsu_belongs_to_the_group_that_it_says(sdk: SdkEdge) -> None:
    await send(sdk, "jitsu 1.11.0")
    assert sdk.events[0]["properties"]["$groups"] == {"group": "acme"}
    assert "traits" not in sdk.events[0]["properties"]["$context"]


async def test_a_clock_of_posthog_server_that_is_behind_is_corrected(sdk: SdkEdge) -> None:
    """It stamps each try, as PostHog's for Android and iOS do."""
    for library in ("posthog-server", "posthog-android", "posthog-ios"):
        body = POSTHOG_SERVER.replace("2026-11-20T", "2026-11-17T").replace("posthog-server", library)
        await sdk.client.post("/batch", content=body)
    assert [event["timestamp"][:23] for event in sdk.events] == ["2026-11-20T09:59:56.912"] * 3


def batch_of(*events: str) -> bytes:
    return b'{"api_key":"%b","batch":[%b]}' % (KEY.encode(), ",".join(events).encode())


GO_EVENT = (
    '{"type":"capture","uuid":"","library":"posthog-go","library_version":"1.5.2","timestamp":"%s","distinct_id":"bob",'
    '"event":"twin","properties":{"$lib":"posthog-go"},"send_feature_flags":false}'
)


@pytest.mark.parametrize("beside", ["2026-11-19T12:38:08.5Z", "2026-11-19T12:38:08.123456789Z"])
async def test_events_of_go_at_a_whole_second_are_known_by_their_place(sdk: SdkEdge, beside: str) -> None:
    """Go has no id for an event, and its time may be any that the app gives: two alike are two, and are so once."""
    twin = GO_EVENT % "2026-11-19T13:38:08Z"
    for _ in range(2):
        await sdk.client.post("/batch/", content=batch_of(twin, GO_EVENT % beside, twin))
    assert len({event["event_id"] for event in sdk.events}) == 3
    await sdk.client.post("/batch/", content=batch_of(twin, GO_EVENT % beside.replace("08.", "09."), twin))
    assert len({event["event_id"] for event in sdk.events}) == 6


async def test_requests_of_go_that_nothing_tells_apart_are_two(sdk: SdkEdge) -> None:
    twin = GO_EVENT % "2026-11-19T13:38:08Z"
    for _ in range(2):
        await sdk.client.post("/batch/", content=batch_of(twin, twin))
    assert len({event["event_id"] for event in sdk.events}) == 4


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({}, 1),
        ({"time": 1795092011000}, 2),  # a whole second
        ({"time": 1795092011}, 2),
        ({"mp_lib": "node"}, 2),  # two that are alike may come in one millisecond
    ],
)
async def test_what_tells_an_event_of_mixpanel_without_an_id(sdk: SdkEdge, changed: dict[str, Any], ids: int) -> None:
    """HttpURLConnection of Java sends a request again when its connection breaks, without the app's knowledge."""
    properties = {"distinct_id": "u1", "time": 1795092011250, "mp_lib": "jdk", "token": KEY, **changed}
    form = {"data": base64.b64encode(json.dumps([{"event": "e", "properties": properties}]).encode()).decode()}
    for _ in range(2):
        assert (await sdk.client.post("/track?ip=0", data=form)).text == "1"
    assert len({event["event_id"] for event in sdk.events}) == ids


async def test_two_alike_of_one_delivery_are_two(sdk: SdkEdge) -> None:
    properties = {"distinct_id": "u1", "time": 1795092011250, "mp_lib": "jdk", "token": KEY}
    message = {"event": "e", "properties": properties}
    whole = {"event": "e", "properties": {**properties, "time": 1795092011000}}
    for _ in range(2):
        await sdk.client.post("/track?ip=0", data={"data": json.dumps([message, message, whole, whole])})
    assert len(sdk.events) == 8
    assert len({event["event_id"] for event in sdk.events}) == 4


@pytest.mark.parametrize("sdk", [{"requests_s": 1}], indirect=True)
async def test_a_limit_is_said_as_amplitude_java_reads_it(sdk: SdkEdge) -> None:
    """It fails on a 429 without `eps_threshold`, and what it had to send is lost."""
    responses = [await send(sdk, "amplitude java 1.13.0") for _ in range(3)]
    answer = responses[-1].json()
    assert responses[-1].status_code == answer["code"] == 429
    assert isinstance(answer["eps_threshold"], int)
    assert (answer["throttled_devices"], answer["throttled_users"], answer["throttled_events"]) == ({}, {}, [])


async def test_what_amplitude_js_says_beside_an_event(sdk: SdkEdge) -> None:
    await send(sdk, "amplitude-js 8.21.10")
    (event,) = sdk.events
    assert event["properties"]["text"] == "\u00fc\U0001f600 & = % +"
    assert event["idempotency_key"] == "device:f1de4236"
    assert event["properties"]["$context"] == {
        "session_id": 1795092008581,
        "event_id": 1,
        "platform": "Web",
        "os_name": "Chrome",
        "os_version": "156",
        "device_model": "Linux",
        "language": "en-US",
        "library": {"name": "amplitude-js", "version": "8.21.10"},
        "user_agent": "Mozilla/5.0",
        "sequence_number": 1,
    }


@pytest.mark.parametrize(
    ("upload_time", "time"),
    [
        ("1795176000000", "2026-11-19T12:40:11.250"),
        ("1795179600000", "2026-11-19T11:40:11.250"),  # an hour ahead
        ("1795172400000", "2026-11-19T13:40:11.250"),  # an hour behind: it stamps each try
        ("", "2026-11-19T12:40:11.250"),
        ("\u0663", "2026-11-19T12:40:11.250"),
        ("9" * 5000, "2026-11-19T12:40:11.250"),
    ],
)
async def test_the_clock_of_amplitude_js(sdk: SdkEdge, upload_time: str, time: str) -> None:
    response = await sdk.client.post("/2/httpapi", content=amplitude_js(_OLD_EVENTS, upload_time))
    assert response.text == "success"
    assert sdk.events[0]["timestamp"][:23] == time


async def test_a_bad_event_of_amplitude_js_does_not_come_again(sdk: SdkEdge) -> None:
    """It sends the first of its queue until there is a 200, and keeps all that came after."""
    response = await sdk.client.post("/2/httpapi", content=amplitude_js('{"event_type":"x"},{}'))
    assert (response.status_code, response.text) == (200, "success")
    assert [code for code, _ in sdk.letters] == ["missing_field"] * 2
    assert not sdk.events


@pytest.mark.parametrize(("key", "status"), [(BOTH_KEY, 400), ("hr_unknown", 400), ("", 400)])
async def test_the_key_of_amplitude_js(sdk: SdkEdge, key: str, status: int) -> None:
    response = await sdk.client.post("/2/httpapi", content=amplitude_js(_OLD_EVENTS, key=key))
    assert response.status_code == status
    assert sdk.is_empty


@pytest.mark.parametrize("body", [b"client=hr_ingest&e=", b"client=hr_ingest&e={}", b"e=%ff%fe&client=hr_ingest"])
async def test_forms_that_are_nothing_are_400(sdk: SdkEdge, body: bytes) -> None:
    assert (await sdk.client.post("/2/httpapi", content=body)).status_code == 400
    assert sdk.is_empty
