"""The ingest calls over HTTP: the exact answers, every error that they can give, and what is in the log afterwards."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.contract.api.endpoints import BASE_PATH, INGEST_CALLS
from services.contract.api.errors import ErrorCode
from services.contract.api.ingest import MAX_EVENT_BYTES
from services.edge.event_log.port import LogUnavailableError
from services.edge.http import rate_limit
from tests.unit.contract.test_errors import EDGE_CODES
from tests.unit.edge.conftest import BOTH_KEY, INGEST_KEY, MAX_BODY_BYTES, OTHER_KEY, QUERY_KEY, Edge

EVENT = {"event": "checkout_completed", "distinct_id": "user_42"}
GOOD: dict[str, Any] = {
    "track": EVENT,
    "batch": {"events": [EVENT]},
    "identify": {"distinct_id": "user_42"},
    "alias": {"old_id": "anonymous_1", "new_id": "user_42"},
    "group": {"distinct_id": "user_42", "group_type": "company", "group_key": "acme"},
}
EVERY_CALL = pytest.mark.parametrize("call", list(GOOD))


def path(call: str) -> str:
    return f"{BASE_PATH}/{call}"


def lines(edge: Edge) -> list[dict[str, Any]]:
    return [json.loads(line) for line in edge.log.event_lines]


def identity(edge: Edge) -> list[dict[str, Any]]:
    return [json.loads(line) for line in edge.log.identity_lines]


def nothing_is_kept(edge: Edge) -> bool:
    return not (edge.log.event_lines or edge.log.identity_lines or edge.log.dead_letters)


# Answers.


@pytest.mark.parametrize(
    ("call", "body", "answer", "kept"),
    [
        ("track", EVENT, {"ok": True, "accepted": 1}, 1),
        ("track", {**EVENT, "properties": {"amount": 19.99}}, {"ok": True, "accepted": 1}, 1),
        ("track", [EVENT, EVENT], {"ok": True, "accepted": 2}, 2),
        ("batch", {"events": []}, {"ok": True, "accepted": 0}, 0),
        ("batch", {"events": [EVENT] * 1000}, {"ok": True, "accepted": 1000}, 1000),
        ("identify", GOOD["identify"], {"ok": True}, 1),
        ("identify", {"distinct_id": "a", "alias_for": "a"}, {"ok": True}, 1),
        ("alias", GOOD["alias"], {"merged": True}, 1),
        ("alias", {"old_id": "a", "new_id": "a"}, {"merged": False}, 0),
        ("group", GOOD["group"], {"ok": True}, 1),
    ],
    ids=[
        "track",
        "track with properties",
        "track array",
        "empty batch",
        "full batch",
        "identify",
        "identify with itself",
        "alias",
        "alias of itself",
        "group",
    ],
)
async def test_the_answer_is_exactly_this(edge: Edge, call: str, body: Any, answer: Any, kept: int) -> None:
    response = await edge.client.post(path(call), json=body)
    assert (response.status_code, response.json()) == (200, answer)
    assert response.headers["content-type"] == "application/json"
    assert len(edge.log.event_lines) + len(edge.log.identity_lines) == kept
    assert edge.log.dead_letters == []


@EVERY_CALL
async def test_unknown_fields_are_named_in_warnings(edge: Edge, call: str) -> None:
    response = await edge.client.post(path(call), json={**GOOD[call], "colour": 1})
    assert response.status_code == 200
    assert response.json()["warnings"] == ["unknown field `colour` ignored"]
    assert not nothing_is_kept(edge)


async def test_what_is_logged_is_the_event_of_the_keys_project(edge: Edge) -> None:
    await edge.client.post(path("track"), json={**EVENT, "properties": {"a": 1}, "idempotency_key": "k"})
    await edge.client.post(path("track"), json=EVENT, headers={"Authorization": f"Bearer {OTHER_KEY}"})
    first, second = lines(edge)
    assert {name: first[name] for name in ("project_id", "event", "distinct_id", "properties", "idempotency_key")} == {
        "project_id": "shop",
        "event": "checkout_completed",
        "distinct_id": "user_42",
        "properties": {"a": 1},
        "idempotency_key": "k",
    }
    assert (first["timestamp"], first["received_at"]) == ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z")
    assert second["project_id"] == "blog"
    assert edge.log.events.ids.hex() == first["event_id"] + second["event_id"]


async def test_a_project_cannot_be_chosen_by_the_body(edge: Edge) -> None:
    response = await edge.client.post(path("track"), json={**EVENT, "project_id": "blog"})
    assert response.json()["warnings"] == ["unknown field `project_id` ignored"]
    assert lines(edge)[0]["project_id"] == "shop"


async def test_repeats_get_the_same_answer_and_the_same_id(edge: Edge) -> None:
    keyed = {**EVENT, "idempotency_key": "k"}
    answers = [
        await edge.client.post(path("track"), json=keyed),
        await edge.client.post(path("batch"), json={"events": [keyed]}),
        await edge.client.post(path("track"), json=[keyed]),
        await edge.client.post(path("track"), json=EVENT, headers={"Idempotency-Key": "k"}),
    ]
    assert [answer.json() for answer in answers] == [{"ok": True, "accepted": 1}] * 4
    assert len({line["event_id"] for line in lines(edge)}) == 1


@pytest.mark.parametrize("call", ["identify", "alias", "group"])
async def test_the_header_stands_for_a_missing_key(edge: Edge, call: str) -> None:
    await edge.client.post(path(call), json=GOOD[call], headers={"Idempotency-Key": "k"})
    await edge.client.post(path(call), json={**GOOD[call], "idempotency_key": "k"})
    first, second = identity(edge)
    assert first["event_id"] == second["event_id"]
    assert first["idempotency_key"] == second["idempotency_key"] == "k"


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "br": partial(brotli.compress, quality=5),
}


@EVERY_CALL
@pytest.mark.parametrize("encoding", list(COMPRESS))
async def test_bodies_may_be_compressed(edge: Edge, call: str, encoding: str) -> None:
    body = COMPRESS[encoding](json.dumps(GOOD[call]).encode())
    response = await edge.client.post(path(call), content=body, headers={"Content-Encoding": encoding})
    assert response.status_code == 200
    assert not nothing_is_kept(edge)


async def test_a_body_may_come_in_chunks_without_its_size(edge: Edge) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in json.dumps(EVENT).encode():
            yield bytes([byte])

    response = await edge.client.post(path("track"), content=chunks())
    assert "content-length" not in response.request.headers
    assert response.json() == {"ok": True, "accepted": 1}


# Partly and wholly invalid batches.


@pytest.mark.parametrize("call", ["track", "batch"])
async def test_of_a_partly_invalid_batch_the_valid_events_are_taken(edge: Edge, call: str) -> None:
    events = [EVENT, {**EVENT, "event": 5}, {"event": "a"}, 7, {**EVENT, "timestamp": "1999-01-01"}, EVENT]
    body: Any = events if call == "track" else {"events": events}
    response = await edge.client.post(path(call), json=body)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["ok"], answer["accepted"], set(answer)) == (False, 2, {"ok", "accepted", "errors"})
    assert answer["errors"][:3] == [
        {
            "index": 1,
            "code": "invalid_field",
            "message": "`event`: expected string, got integer.",
            "field": "event",
        },
        {"index": 2, "code": "missing_field", "message": "`distinct_id` is required.", "field": "distinct_id"},
        {"index": 3, "code": "invalid_field", "message": "The event: expected object, got integer."},
    ]
    assert (answer["errors"][3]["code"], answer["errors"][3]["field"]) == ("invalid_timestamp", "timestamp")
    assert len(edge.log.event_lines) == 2
    letters = edge.log.dead_letters
    assert [(letter.origin.index, letter.code) for letter in letters] == [
        (error["index"], error["code"]) for error in answer["errors"]
    ]
    assert [json.loads(letter.payload) for letter in letters] == events[1:5]
    assert {(letter.origin.service, letter.project_id) for letter in letters} == {("edge", "shop")}


@pytest.mark.parametrize("call", ["track", "batch"])
async def test_a_batch_without_a_valid_event_is_an_error_and_its_events_are_dead_letters(edge: Edge, call: str) -> None:
    events = [{**EVENT, "event": ""}, {"event": "a"}]
    body: Any = events if call == "track" else {"events": events}
    response = await edge.client.post(path(call), json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["field"], error["index"]) == ("invalid_field", "event", 0)
    assert error["message"].endswith("(and 1 more: no event of the batch is valid)")
    assert edge.log.event_lines == []
    assert len(edge.log.dead_letters) == 2


async def test_an_event_too_large_for_the_log_does_not_hold_up_its_batch(edge: Edge) -> None:
    huge = {**EVENT, "properties": {"x": '"' * 800_000}}
    response = await edge.client.post(path("batch"), json={"events": [EVENT, huge]})
    assert response.status_code == 200
    assert [(error["index"], error["code"]) for error in response.json()["errors"]] == [(1, "event_too_large")]
    assert len(edge.log.dead_letters) == 1


# Errors.


class Case:
    """A request, and the error that it gets."""

    def __init__(self, code: ErrorCode, call: str, body: Any, method: str = "POST", **headers: str) -> None:
        self.code = code
        self.call = call
        self.method = method
        self.content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def send(self, edge: Edge) -> httpx.Response:
        return await edge.client.request(self.method, path(self.call), content=self.content, headers=self.headers)

    def __repr__(self) -> str:
        return f"{self.call}-{self.code.code}"


TOO_DEEP: Any = {}
for _ in range(32):
    TOO_DEEP = {"k": TOO_DEEP}

CASES = [
    *[
        case
        for call, body in GOOD.items()
        for case in (
            Case(ErrorCode.INVALID_JSON, call, b"{"),
            Case(ErrorCode.INVALID_JSON, call, b'"\xff"'),
            Case(ErrorCode.INVALID_FIELD, call, b"null"),
            Case(ErrorCode.MISSING_FIELD, call, b"{}"),
            Case(ErrorCode.TOO_DEEP, call, b'{"x":' * 100_000),
            Case(ErrorCode.UNAUTHORIZED, call, body, Authorization="Bearer hr_unknown"),
            Case(ErrorCode.UNAUTHORIZED, call, b"", Authorization=f"Basic {INGEST_KEY}"),
            Case(ErrorCode.FORBIDDEN, call, body, Authorization=f"Bearer {QUERY_KEY}"),
            Case(ErrorCode.METHOD_NOT_ALLOWED, call, b"", method="GET"),
            Case(ErrorCode.METHOD_NOT_ALLOWED, call, b"", method="DELETE"),
            Case(ErrorCode.BODY_TOO_LARGE, call, b" " * (MAX_BODY_BYTES + 1)),
            Case(ErrorCode.BODY_TOO_LARGE, call, gzip.compress(b" " * (MAX_BODY_BYTES + 1)), Content_Encoding="gzip"),
            Case(ErrorCode.INVALID_ENCODING, call, body, Content_Encoding="gzip"),
            Case(ErrorCode.UNSUPPORTED_ENCODING, call, body, Content_Encoding="compress"),
            Case(ErrorCode.UNSUPPORTED_MEDIA_TYPE, call, body, Content_Type="application/xml"),
        )
    ],
    Case(ErrorCode.INVALID_FIELD, "track", []),
    Case(ErrorCode.INVALID_FIELD, "track", {**EVENT, "event": "x" * 201}),
    Case(ErrorCode.INVALID_FIELD, "track", EVENT, Idempotency_Key="x" * 257),
    Case(ErrorCode.INVALID_FIELD, "alias", GOOD["alias"], Idempotency_Key="tab\there"),
    Case(ErrorCode.TOO_DEEP, "track", {**EVENT, "properties": TOO_DEEP}),
    Case(ErrorCode.INVALID_TIMESTAMP, "track", {**EVENT, "timestamp": "1999-12-31"}),
    Case(ErrorCode.INVALID_TIMESTAMP, "batch", {"events": [{**EVENT, "timestamp": True}]}),
    Case(ErrorCode.INVALID_TIMESTAMP, "identify", {"distinct_id": "a", "timestamp": "never"}),
    Case(ErrorCode.BATCH_TOO_LARGE, "track", [EVENT] * 1001),
    Case(ErrorCode.BATCH_TOO_LARGE, "batch", {"events": [EVENT] * 1001}),
    Case(ErrorCode.EVENT_TOO_LARGE, "track", {**EVENT, "properties": {"x": "x" * MAX_EVENT_BYTES}}),
    Case(ErrorCode.INVALID_FIELD, "batch", {"events": [{**EVENT, "properties": {"x": "x" * MAX_EVENT_BYTES}}]}),
    Case(ErrorCode.EVENT_TOO_LARGE, "identify", {"distinct_id": "a", "traits": {"x": "x" * MAX_EVENT_BYTES}}),
    Case(ErrorCode.ILLEGAL_ID, "alias", {"old_id": "null", "new_id": "user_42"}),
    Case(ErrorCode.ILLEGAL_ID, "identify", {"distinct_id": "user_42", "alias_for": "Guest"}),
    Case(ErrorCode.NOT_FOUND, "nothing", EVENT),
]
# Errors that need the log, the keys or the rate to be in a certain state have tests of their own below.
BY_STATE = {
    ErrorCode.RATE_LIMITED,
    ErrorCode.QUOTA_EXCEEDED,  # test_quotas.py
    ErrorCode.LOG_UNAVAILABLE,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR,
}


def assert_error(response: httpx.Response, code: ErrorCode) -> dict[str, Any]:
    """The one shape of every error; gives its detail."""
    assert response.status_code == code.status
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert set(answer) == {"error", "request_id"}
    assert answer["request_id"] == response.headers["x-request-id"] != ""
    error: dict[str, Any] = answer["error"]
    assert error["code"] == code.code
    assert {"code", "message"} <= set(error) <= {"code", "message", "field", "index"}
    assert error["message"].endswith((".", ")"))
    return error


@pytest.mark.parametrize("case", CASES, ids=repr)
async def test_an_error_has_its_status_and_the_one_shape_and_nothing_is_kept(edge: Edge, case: Case) -> None:
    response = await case.send(edge)
    assert_error(response, case.code)
    assert edge.log.event_lines == []
    assert edge.log.identity_lines == []


@pytest.mark.parametrize("case", CASES, ids=repr)
async def test_every_error_is_counted(edge: Edge, case: Case) -> None:
    def count() -> float:
        labels = {"service": "edge", "code": case.code.code}
        return REGISTRY.get_sample_value("headrace_http_errors_total", labels) or 0.0

    before = count()
    await case.send(edge)
    assert count() == before + 1


def test_every_error_of_the_edge_has_a_case() -> None:
    assert {case.code for case in CASES} | BY_STATE == EDGE_CODES


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_every_error_of_a_call_is_documented(case: Case) -> None:
    documented = {call.path.strip("/"): set(call.errors) for call in INGEST_CALLS}
    everywhere = {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED}
    assert case.code in documented.get(case.call, set()) | everywhere


@pytest.mark.parametrize("case", [c for c in CASES if c.code is ErrorCode.UNAUTHORIZED], ids=repr)
async def test_401_says_how_to_authenticate(edge: Edge, case: Case) -> None:
    assert (await case.send(edge)).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("case", [c for c in CASES if c.code is ErrorCode.METHOD_NOT_ALLOWED], ids=repr)
async def test_405_says_which_method(edge: Edge, case: Case) -> None:
    assert (await case.send(edge)).headers["allow"] == "POST"


@EVERY_CALL
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer\thr_ingest", "Token hr_ingest", "hr_ingest", "Bearer é"]
)
async def test_without_a_key_nothing_goes(edge: Edge, call: str, authorization: str | None) -> None:
    del edge.client.headers["Authorization"]
    headers = {} if authorization is None else {b"Authorization": authorization.encode()}
    response = await edge.client.post(path(call), json=GOOD[call], headers=headers)
    assert_error(response, ErrorCode.UNAUTHORIZED)
    assert nothing_is_kept(edge)


@pytest.mark.parametrize("call", list(GOOD))
@pytest.mark.parametrize("origin", [{}, {"Origin": "https://shop.example"}], ids=["direct", "page"])
@pytest.mark.parametrize(
    "given",
    [
        [f"Bearer {INGEST_KEY}", f"Bearer {INGEST_KEY}"],
        [f"Bearer {INGEST_KEY}", "Bearer hr_unknown"],
        ["Bearer hr_unknown", f"Bearer {INGEST_KEY}"],
        [f"Bearer {INGEST_KEY}", ""],
        ["", f"Bearer {INGEST_KEY}"],
        [f"Bearer {INGEST_KEY}", f"Bearer {OTHER_KEY}", f"Bearer {BOTH_KEY}"],
    ],
)
async def test_of_two_headers_none_counts(edge: Edge, call: str, origin: dict[str, str], given: list[str]) -> None:
    del edge.client.headers["Authorization"]
    headers = [("authorization", value) for value in given] + list(origin.items())
    response = await edge.client.post(path(call), json=GOOD[call], headers=headers)
    assert_error(response, ErrorCode.UNAUTHORIZED)
    assert "one Authorization header" in response.json()["error"]["message"]
    assert nothing_is_kept(edge)


@pytest.mark.parametrize("second", ["hr_unknown", INGEST_KEY, OTHER_KEY, ""])
async def test_of_two_keys_in_the_address_none_counts(edge: Edge, second: str) -> None:
    del edge.client.headers["Authorization"]
    for keys in ([INGEST_KEY, second], [second, INGEST_KEY]):
        response = await edge.client.post(path("track"), json=EVENT, params={"key": keys})
        assert_error(response, ErrorCode.UNAUTHORIZED)
    assert nothing_is_kept(edge)


@pytest.mark.parametrize("authorization", ["bearer hr_ingest", "BEARER   hr_ingest  "])
async def test_the_scheme_may_be_written_in_any_case(edge: Edge, authorization: str) -> None:
    response = await edge.client.post(path("track"), json=EVENT, headers={"Authorization": authorization})
    assert response.status_code == 200


@EVERY_CALL
async def test_a_revoked_key_is_refused_after_the_next_reading(edge: Edge, call: str) -> None:
    edge.store.revoke(INGEST_KEY)
    await edge.keys.refresh()
    assert_error(await edge.client.post(path(call), json=GOOD[call]), ErrorCode.UNAUTHORIZED)


async def test_an_idempotency_header_that_is_not_ascii_is_refused(edge: Edge) -> None:
    response = await edge.client.post(path("track"), json=EVENT, headers={b"Idempotency-Key": "schlüssel".encode()})
    error = assert_error(response, ErrorCode.INVALID_FIELD)
    assert error["field"] == "Idempotency-Key"
    assert "in the body" in error["message"]
    longest = await edge.client.post(path("track"), json=EVENT, headers={"Idempotency-Key": "~" * 256})
    assert longest.status_code == 200


async def test_a_body_larger_than_announced_is_refused(edge: Edge) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    response = await edge.client.post(path("track"), content=body, headers={"Content-Length": "10"})
    assert_error(response, ErrorCode.BODY_TOO_LARGE)


# Request ids.


@pytest.mark.parametrize("given", ["abc-123", "x" * 128, "with space"])
async def test_the_callers_request_id_comes_back(edge: Edge, given: str) -> None:
    response = await edge.client.post(path("track"), content=b"{", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == response.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "tab\t", "ünïcode"])
async def test_a_request_id_that_is_not_sane_is_replaced(edge: Edge, given: str) -> None:
    response = await edge.client.post(path("track"), content=b"{", headers={b"X-Request-Id": given.encode()})
    made = response.json()["request_id"]
    assert len(made) == 32
    assert made == response.headers["x-request-id"]


async def test_two_requests_have_two_ids(edge: Edge) -> None:
    first, second = [await edge.client.post(path("track"), content=b"{") for _ in range(2)]
    assert first.json()["request_id"] != second.json()["request_id"]


# States in which a good request is refused.


@EVERY_CALL
async def test_without_the_log_nothing_is_acknowledged(edge: Edge, call: str) -> None:
    edge.log.available = False
    response = await edge.client.post(path(call), json=GOOD[call])
    error = assert_error(response, ErrorCode.LOG_UNAVAILABLE)
    assert "same idempotency keys" in error["message"]
    assert int(response.headers["retry-after"]) >= 1
    assert nothing_is_kept(edge)
    edge.log.available = True
    assert (await edge.client.post(path(call), json=GOOD[call])).status_code == 200


@pytest.mark.parametrize("events", [[EVENT, {}], [{}, {}]], ids=["partly valid", "invalid"])
async def test_without_the_log_a_rejection_is_not_answered_either(edge: Edge, events: list[Any]) -> None:
    edge.log.available = False
    response = await edge.client.post(path("batch"), json={"events": events})
    assert_error(response, ErrorCode.LOG_UNAVAILABLE)
    assert nothing_is_kept(edge)


async def test_an_empty_batch_and_an_alias_of_itself_need_no_log(edge: Edge) -> None:
    edge.log.available = False
    assert (await edge.client.post(path("batch"), json={"events": []})).status_code == 200
    assert (await edge.client.post(path("alias"), json={"old_id": "a", "new_id": "a"})).json() == {"merged": False}


async def test_dead_letters_that_cannot_be_kept_are_a_503(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(letters: object) -> None:
        raise LogUnavailableError("full")

    monkeypatch.setattr(edge.log, "append_dead_letters", refuse)
    response = await edge.client.post(path("batch"), json={"events": [EVENT, {}]})
    assert_error(response, ErrorCode.LOG_UNAVAILABLE)


@EVERY_CALL
async def test_before_the_keys_were_ever_read_it_is_the_store_that_is_missing(call: str, edge: Edge) -> None:
    edge.keys.loaded_at = None
    edge.store.available = False
    response = await edge.client.post(path(call), json=GOOD[call], headers={"Authorization": "Bearer hr_new"})
    assert_error(response, ErrorCode.STORE_UNAVAILABLE)
    assert int(response.headers["retry-after"]) >= 1


async def test_known_keys_work_while_the_store_is_away(edge: Edge) -> None:
    edge.store.available = False
    assert (await edge.client.post(path("track"), json=EVENT)).status_code == 200


@pytest.mark.parametrize("edge", [10], indirect=True)
async def test_beyond_its_rate_a_project_has_to_wait(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine a token comes back before the next request does.
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    full = {"events": [EVENT] * 1000}
    assert (await edge.client.post(path("batch"), json=full)).status_code == 200
    for call, body in [*GOOD.items(), ("batch", full), ("batch", {"events": [{}]})]:
        response = await edge.client.post(path(call), json=body)
        assert_error(response, ErrorCode.RATE_LIMITED)
        assert 1 <= int(response.headers["retry-after"]) <= 100
    assert len(edge.log.event_lines) == 1000
    assert edge.log.identity_lines == []
    assert edge.log.dead_letters == []
    other = await edge.client.post(path("track"), json=EVENT, headers={"Authorization": f"Bearer {OTHER_KEY}"})
    assert other.status_code == 200


@EVERY_CALL
async def test_a_fault_of_the_server_has_the_same_shape_and_tells_nothing(
    edge: Edge, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(edge.log, "append_events", broken)
    monkeypatch.setattr(edge.log, "append_identity", broken)
    with capture_logs() as logged:
        response = await edge.client.post(path(call), json=GOOD[call])
    assert_error(response, ErrorCode.INTERNAL_ERROR)
    assert "secret" not in response.text
    assert [(entry["event"], entry["request_id"]) for entry in logged] == [
        ("internal_error", response.json()["request_id"])
    ]


# Browsers.


@EVERY_CALL
async def test_a_beacon_carries_its_key_in_the_address(edge: Edge, call: str) -> None:
    del edge.client.headers["Authorization"]
    response = await edge.client.post(
        path(call),
        params={"key": INGEST_KEY},
        content=json.dumps(GOOD[call]),
        headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": "https://shop.example"},
    )
    assert response.status_code == 200
    assert not nothing_is_kept(edge)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (BOTH_KEY, ErrorCode.FORBIDDEN),
        (QUERY_KEY, ErrorCode.FORBIDDEN),
        ("hr_unknown", ErrorCode.UNAUTHORIZED),
        ("", ErrorCode.UNAUTHORIZED),
    ],
    ids=["both scopes", "query only", "unknown", "empty"],
)
@EVERY_CALL
async def test_only_a_key_for_ingest_alone_may_be_in_an_address(
    edge: Edge, call: str, key: str, code: ErrorCode
) -> None:
    del edge.client.headers["Authorization"]
    response = await edge.client.post(path(call), params={"key": key}, json=GOOD[call])
    assert_error(response, code)
    assert nothing_is_kept(edge)


async def test_a_header_counts_more_than_the_address(edge: Edge) -> None:
    headers = {"Authorization": f"Bearer {OTHER_KEY}"}
    assert (await edge.client.post(path("track"), params={"key": BOTH_KEY}, json=EVENT, headers=headers)).is_success
    assert lines(edge)[0]["project_id"] == "blog"
    wrong = await edge.client.post(
        path("track"), params={"key": INGEST_KEY}, json=EVENT, headers={"Authorization": "Bearer hr_unknown"}
    )
    assert_error(wrong, ErrorCode.UNAUTHORIZED)


@EVERY_CALL
async def test_a_browser_may_ask_beforehand(edge: Edge, call: str) -> None:
    response = await edge.client.options(
        path(call),
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,content-encoding,idempotency-key,x-request-id",
        },
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    for header in ("authorization", "content-type", "content-encoding", "idempotency-key", "x-request-id"):
        assert header in allowed


@pytest.mark.parametrize("body", [b"{", json.dumps(EVENT).encode()], ids=["error", "success"])
async def test_a_browser_may_read_the_answer(edge: Edge, body: bytes) -> None:
    response = await edge.client.post(path("track"), content=body, headers={"Origin": "https://shop.example"})
    assert response.headers["access-control-allow-origin"] == "*"
    exposed = response.headers["access-control-expose-headers"].lower()
    assert "retry-after" in exposed
    assert "x-request-id" in exposed


# Operation.


async def test_readiness_follows_log_and_keys(edge: Edge) -> None:
    ready = await edge.client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "checks": {"kafka": True, "keys": True}})
    edge.log.available = False
    not_ready = await edge.client.get("/health/ready")
    assert (not_ready.status_code, not_ready.json()["ready"]) == (503, False)
    assert (await edge.client.get("/health/live")).status_code == 200


async def test_metrics_count_what_became_of_events(edge: Edge) -> None:
    def count(result: str) -> float:
        return REGISTRY.get_sample_value("headrace_edge_events_total", {"call": "batch", "result": result}) or 0.0

    accepted, rejected = count("accepted"), count("rejected")
    await edge.client.post(path("batch"), json={"events": [EVENT, EVENT, {}]})
    assert (count("accepted") - accepted, count("rejected") - rejected) == (2, 1)
    metrics = await edge.client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'headrace_edge_events_total{call="batch",result="accepted"}' in metrics.text


async def test_metrics_hold_the_time_of_each_request_whatever_its_answer(edge: Edge) -> None:
    def sample(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"headrace_edge_request_seconds_{name}", {"call": "track", **labels}) or 0.0

    count, seconds = sample("count"), sample("sum")
    assert (await edge.client.post(path("track"), json=EVENT)).status_code == 200
    assert (await edge.client.post(path("track"), json={})).status_code == 400
    assert sample("count") - count == 2
    assert sample("bucket", le="+Inf") == sample("count") >= sample("bucket", le="0.001")
    assert sample("sum") > seconds
