"""Track events: what is taken, as which line; what is refused, with which words; what only warns."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_BATCH_EVENTS, MAX_EVENT_BYTES
from services.contract.log.envelope import pack
from services.edge.intake.second_pass import take_batch, take_track
from services.edge.intake.track import Intake

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
PROJECT = "shop"


def event(**fields: Any) -> dict[str, Any]:
    return {"event": "checkout_completed", "distinct_id": "user_42", **fields}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def track(body: bytes, header_key: str | None = None, project_id: str = PROJECT) -> Intake:
    return take_track(body, project_id, NOW, header_key)


def batch(*events: Any, project_id: str = PROJECT) -> Intake:
    return take_batch(encode({"events": list(events)}), project_id, NOW)


def refusal(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as refused:
        track(body)
    return refused.value


def test_the_page_example_becomes_one_line() -> None:
    body = b'{"event": "checkout_completed", "distinct_id": "user_42", "properties": {"amount": 19.99}}'
    intake = track(body)
    (line,) = intake.lines
    assert (line.project_id, line.event, line.distinct_id) == (PROJECT, "checkout_completed", "user_42")
    assert (line.timestamp, line.received_at, line.original_timestamp) == (NOW, NOW, "")
    assert (bytes(line.properties), line.idempotency_key) == (b'{"amount": 19.99}', "")
    assert (line.event_id, intake.rejected, intake.warnings) == (intake.ids[0].hex(), [], [])
    assert json.loads(pack(intake.ids, intake.lines).lines)["timestamp"] == "2026-11-20T12:00:00Z"


@pytest.mark.parametrize(
    ("name", "chars"), [("event", 200), ("distinct_id", 512), ("idempotency_key", 256)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("char", ["x", "é", "😀"])
def test_a_text_may_be_as_long_as_its_limit_in_characters(name: str, chars: int, char: str) -> None:
    assert getattr(track(encode(event(**{name: char * chars}))).lines[0], name) == char * chars
    error = refusal(encode(event(**{name: char * (chars + 1)})))
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, name)
    assert error.message == f"`{name}`: expected string of length <= {chars}."


@pytest.mark.parametrize("name", ["event", "distinct_id"])
def test_an_empty_text_is_refused(name: str) -> None:
    error = refusal(encode(event(**{name: ""})))
    assert (error.code, error.field, error.message) == (
        ErrorCode.INVALID_FIELD,
        name,
        f"`{name}`: expected string of length >= 1.",
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("event", 5, "`event`: expected string, got integer."),
        ("event", None, "`event`: expected string, got null."),
        ("event", ["a"], "`event`: expected string, got array."),
        ("distinct_id", 1.5, "`distinct_id`: expected string, got number."),
        ("distinct_id", True, "`distinct_id`: expected string, got boolean."),
        ("distinct_id", {}, "`distinct_id`: expected string, got object."),
        ("idempotency_key", 7, "`idempotency_key`: expected string or null, got integer."),
        ("properties", [], "`properties`: expected an object."),
        ("properties", "{}", "`properties`: expected an object."),
        ("properties", 0, "`properties`: expected an object."),
        ("properties", False, "`properties`: expected an object."),
    ],
)
def test_a_wrong_type_names_the_field_and_what_was_expected(name: str, value: Any, message: str) -> None:
    error = refusal(encode(event(**{name: value})))
    assert (error.code, error.field, error.index, error.message) == (ErrorCode.INVALID_FIELD, name, None, message)


@pytest.mark.parametrize("name", ["event", "distinct_id"])
def test_a_missing_field_is_named(name: str) -> None:
    body = event()
    del body[name]
    error = refusal(encode(body))
    assert (error.code, error.field, error.message) == (ErrorCode.MISSING_FIELD, name, f"`{name}` is required.")


WHOLE = b'{"event": "a", "distinct_id": "b", "properties": %s}'


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param(b"", ErrorCode.INVALID_JSON, "it is empty", id="empty"),
        pytest.param(b" \r\n\t", ErrorCode.INVALID_JSON, "it is empty", id="blank"),
        pytest.param(b"null", ErrorCode.INVALID_FIELD, "The body: expected object, got null.", id="null"),
        pytest.param(b'"x"', ErrorCode.INVALID_FIELD, "The body: expected object, got string.", id="string"),
        pytest.param(b"5", ErrorCode.INVALID_FIELD, "The body: expected object, got integer.", id="number"),
        pytest.param(b"[]", ErrorCode.INVALID_FIELD, "at least one", id="empty array"),
        pytest.param(b"{}", ErrorCode.MISSING_FIELD, "`event` is required.", id="empty object"),
        pytest.param(b'{"event": "a", "distinct_id": "b"} x', ErrorCode.INVALID_JSON, "(byte 36)", id="trailing text"),
        pytest.param(
            b'{"event": "a", "distinct_id": "b"', ErrorCode.INVALID_JSON, "ends before its last bracket", id="cut off"
        ),
        pytest.param(b"{'event': 'a'}", ErrorCode.INVALID_JSON, "(byte 1)", id="single quotes"),
        pytest.param(b'{"event": "a", "distinct_id": "\xff"}', ErrorCode.INVALID_JSON, "(byte 31)", id="no UTF-8"),
        pytest.param(WHOLE % b'{"x": NaN}', ErrorCode.INVALID_JSON, "(byte 55)", id="NaN"),
        pytest.param(WHOLE % b'{"x": Infinity}', ErrorCode.INVALID_JSON, "invalid character", id="Infinity"),
        pytest.param(WHOLE % b'{"x": -Infinity}', ErrorCode.INVALID_JSON, "invalid character", id="-Infinity"),
        pytest.param(WHOLE % b'{"x": 01}', ErrorCode.INVALID_JSON, "invalid number", id="leading zero"),
        pytest.param(WHOLE % b'{"x": 1,}', ErrorCode.INVALID_JSON, "trailing comma", id="trailing comma"),
        pytest.param(WHOLE % b'{"x": "a\nb"}', ErrorCode.INVALID_JSON, "invalid character", id="newline in a string"),
        pytest.param(WHOLE % b'{"x": "a\x00b"}', ErrorCode.INVALID_JSON, "invalid character", id="NUL byte"),
        pytest.param(WHOLE % b'{"x": "\\x41"}', ErrorCode.INVALID_JSON, "escape", id="unknown escape"),
        pytest.param(b"[" * 100_000, ErrorCode.TOO_DEEP, "Flatten it", id="100,000 open arrays"),
        pytest.param(b'{"a":' * 100_000, ErrorCode.TOO_DEEP, "Flatten it", id="100,000 open objects"),
        pytest.param(b"\n" + b"[" * 100_000, ErrorCode.TOO_DEEP, "Flatten it", id="100,000 open arrays, two lines"),
        pytest.param(
            WHOLE % (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), ErrorCode.TOO_DEEP, "", id="deep properties"
        ),
    ],
)
def test_a_broken_body_is_refused_with_the_place(body: bytes, code: ErrorCode, message: str) -> None:
    error = refusal(body)
    assert error.code is code
    assert message in error.message
    assert "jSON" not in error.message


def nested(levels: int) -> Any:
    """An object with so many levels, itself counted."""
    value: Any = 1
    for level in range(levels):
        value = {"k": value} if level % 2 == (levels - 1) % 2 else [value]
    return value


def test_properties_may_be_nested_to_32_levels() -> None:
    assert json.loads(bytes(track(encode(event(properties=nested(32)))).lines[0].properties)) == nested(32)
    error = refusal(encode(event(properties=nested(33))))
    assert (error.code, error.field) == (ErrorCode.TOO_DEEP, "properties")
    assert error.message == "`properties` is nested deeper than 32 levels. Flatten it."


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"x": [[]] * 100}, id="many but flat"),
        pytest.param({"x": "{[" * 100}, id="brackets in a string"),
        pytest.param({"x": '"' + "[" * 100 + "\\"}, id="brackets behind an escaped quote"),
        pytest.param({"[" * 100: "\\", "y": "]" * 100 + '\\"'}, id="brackets in names"),
    ],
)
def test_only_real_levels_count(properties: Any) -> None:
    (line,) = track(encode(event(properties=properties))).lines
    assert json.loads(bytes(line.properties)) == properties


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(b'{"x": "\\u0000"}', id="NUL"),
        pytest.param(b'{"x": 1.7976931348623157e308, "y": -1E-999, "z": ' + b"9" * 308 + b"}", id="extreme numbers"),
        pytest.param(b'{"x": 1, "x": 2}', id="name twice"),
        pytest.param('{"x": "😀\u2028é"}'.encode(), id="non-ASCII"),
        pytest.param(b'{"x": "\\ud83d\\ude00\\n"}', id="escapes"),
        pytest.param(b'{"": {"": [null, true]}}', id="empty names"),
    ],
)
@pytest.mark.parametrize("second_pass", [False, True], ids=["clean", "with an unknown field"])
def test_properties_are_kept_as_the_bytes_that_came(properties: bytes, second_pass: bool) -> None:
    body = WHOLE % properties
    if second_pass:
        body = body[:-1] + b', "else": 1}'
    (line,) = track(body).lines
    assert bytes(line.properties) == properties


@pytest.mark.parametrize("body", [event(), event(properties=None), event(properties={})], ids=["absent", "null", "{}"])
@pytest.mark.parametrize("unknown", [{}, {"else": 1}], ids=["clean", "with an unknown field"])
def test_absent_properties_are_an_empty_object(body: dict[str, Any], unknown: dict[str, Any]) -> None:
    assert bytes(track(encode({**body, **unknown})).lines[0].properties) == b"{}"


@pytest.mark.parametrize("name", ["event", "distinct_id", "idempotency_key"])
def test_nul_is_refused_in_names_ids_and_keys(name: str) -> None:
    error = refusal(encode(event(**{name: "a\0b"})))
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, name)
    assert error.message == f"`{name}` must not contain the character NUL."


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("call", ["track", "array", "batch"])
def test_a_body_of_many_lines_becomes_one_line_an_event(call: str, newline: str) -> None:
    sent = [event(properties={"a": [1, {"b": "two\nlines"}], "c": "}\n{"}), event(properties={})]
    whole: Any = {"track": sent[0], "array": sent, "batch": {"events": sent}}[call]
    body = json.dumps(whole, indent=2).replace("\n", newline).encode()
    intake = take_batch(body, PROJECT, NOW) if call == "batch" else track(body)
    lines = pack(intake.ids, intake.lines).lines
    assert lines.count(b"\n") == len(intake.ids) == (1 if call == "track" else 2)
    assert json.loads(lines.splitlines()[0])["properties"] == sent[0]["properties"]


def test_of_a_name_given_twice_the_last_counts() -> None:
    for unknown in (b"", b', "else": 1'):
        body = b'{"event": "first", "distinct_id": "b", "event": "last"' + unknown + b"}"
        assert track(body).lines[0].event == "last"


def sized_event(size: int) -> bytes:
    empty = encode(event(properties={"x": ""}))
    return encode(event(properties={"x": "a" * (size - len(empty))}))


def test_an_event_may_have_512_kib() -> None:
    assert len(track(sized_event(MAX_EVENT_BYTES)).lines) == 1
    error = refusal(sized_event(MAX_EVENT_BYTES + 1))
    assert (error.code, error.index) == (ErrorCode.EVENT_TOO_LARGE, None)
    assert "524289 bytes; at most 524288" in error.message


def test_an_event_that_is_too_large_costs_only_itself() -> None:
    parts = [sized_event(MAX_EVENT_BYTES), sized_event(MAX_EVENT_BYTES + 1), encode(event())]
    intake = take_batch(b'{"events": [' + b", ".join(parts) + b"]}", PROJECT, NOW)
    assert len(intake.lines) == 2
    assert [(r.index, r.error.code) for r in intake.rejected] == [(1, ErrorCode.EVENT_TOO_LARGE)]


def test_brackets_in_a_body_of_10_mib_are_counted_quickly() -> None:
    brackets = b"[]," * 3_000_000
    body = WHOLE % (b'{"x": [' + brackets + b"1]}")
    started = time.process_time()
    assert refusal(body).code is ErrorCode.EVENT_TOO_LARGE
    assert time.process_time() - started < 1


@pytest.mark.parametrize("call", ["array", "batch"])
@pytest.mark.parametrize("unknown", [{}, {"else": 1}], ids=["clean", "with an unknown field"])
def test_1000_events_fit_in_a_batch_and_of_1001_none_is_taken(call: str, unknown: dict[str, Any]) -> None:
    def take(count: int) -> Intake:
        events = [event(**unknown)] * count
        return track(encode(events)) if call == "array" else batch(*events)

    assert len(take(MAX_BATCH_EVENTS).lines) == 1000
    with pytest.raises(
        ApiError, match=r"more than 1000 events; at most 1000 fit in a batch\. Nothing was taken"
    ) as refused:
        take(MAX_BATCH_EVENTS + 1)
    assert refused.value.code is ErrorCode.BATCH_TOO_LARGE


def test_an_empty_batch_is_taken_and_holds_nothing() -> None:
    assert batch() == Intake()


@pytest.mark.parametrize(
    ("body", "code", "field", "message"),
    [
        (b"{}", ErrorCode.MISSING_FIELD, "events", "`events` is required."),
        (b'{"events": null}', ErrorCode.INVALID_FIELD, "events", "`events`: expected array, got null."),
        (b'{"events": {}}', ErrorCode.INVALID_FIELD, "events", "`events`: expected array, got object."),
        (b"[]", ErrorCode.INVALID_FIELD, None, "The body: expected object, got array."),
        (b'"x"', ErrorCode.INVALID_FIELD, None, "The body: expected object, got string."),
        (b"null", ErrorCode.INVALID_FIELD, None, "The body: expected object, got null."),
        (
            b"",
            ErrorCode.INVALID_JSON,
            None,
            "The body is not valid JSON: it is empty, or ends before its last bracket. Send all of it.",
        ),
        (b'{"events": [}', ErrorCode.INVALID_JSON, None, "The body is not valid JSON: invalid character (byte 12)."),
    ],
    ids=["no events", "null", "object", "array", "string", "null body", "empty", "broken"],
)
def test_a_body_that_is_no_batch_is_refused(body: bytes, code: ErrorCode, field: str | None, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        take_batch(body, PROJECT, NOW)
    assert (refused.value.code, refused.value.field, refused.value.message) == (code, field, message)


def test_unknown_fields_are_ignored_and_named_once() -> None:
    intake = take_batch(encode({"events": [event(zz=1, aa=2), event(zz=3)], "sent_at": 0}), PROJECT, NOW)
    assert len(intake.lines) == 2
    assert intake.rejected == []
    assert intake.warnings == [
        "unknown field `sent_at` ignored",
        "unknown field `aa` ignored",
        "unknown field `zz` ignored",
    ]


def test_warnings_are_bounded() -> None:
    fields: dict[str, Any] = {f"unknown{i}" * 50: i for i in range(100)}
    warnings = track(encode(event(**fields))).warnings
    assert len(warnings) == 20
    assert max(map(len, warnings)) < 150


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ('"2026-11-20T11:00:00Z"', datetime(2026, 11, 20, 11)),
        ('"2026-11-20t11:00:00z"', datetime(2026, 11, 20, 11)),
        ('"2026-11-20T11:00:00"', datetime(2026, 11, 20, 11)),
        ('"2026-11-20 11:00:00"', datetime(2026, 11, 20, 11)),
        ('" 2026-11-20T11:00:00Z "', datetime(2026, 11, 20, 11)),
        ('"2026-11-20T11:00:00+00:00"', datetime(2026, 11, 20, 11)),
        ('"2026-11-20T11:00:00+05:30"', datetime(2026, 11, 20, 5, 30)),
        ('"2026-11-20T02:00:00-08:00"', datetime(2026, 11, 20, 10)),
        ('"2026-11-20T11:00:00+0530"', datetime(2026, 11, 20, 5, 30)),
        ('"2026-11-20T11:00:00+05"', datetime(2026, 11, 20, 6)),
        ('"2026-11-20T11:00:00.5Z"', datetime(2026, 11, 20, 11, 0, 0, 500_000)),
        ('"2026-11-20T11:00:00.123456Z"', datetime(2026, 11, 20, 11, 0, 0, 123_456)),
        ('"2026-11-20T11:00Z"', datetime(2026, 11, 20, 11)),
        ('"20261120T110000Z"', datetime(2026, 11, 20, 11)),
        ('"2026-W47-5T11:00:00Z"', datetime(2026, 11, 20, 11)),
        ('"2026-11-20"', datetime(2026, 11, 20)),
        ('"2000-01-01T00:00:00Z"', datetime(2000, 1, 1)),
        ('"2026-11-20T13:00:00Z"', datetime(2026, 11, 20, 13)),
        ("946684800", datetime(2000, 1, 1)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20)),
        ("1700000000.25", datetime(2023, 11, 14, 22, 13, 20, 250_000)),
        ("1.7e9", datetime(2023, 11, 14, 22, 13, 20)),
        ("1700000000000", datetime(2023, 11, 14, 22, 13, 20)),
        ("1700000000123", datetime(2023, 11, 14, 22, 13, 20, 123_000)),
        ("1700000000123.5", datetime(2023, 11, 14, 22, 13, 20, 123_500)),
        ("1700000000123456", datetime(2023, 11, 14, 22, 13, 20, 123_456)),
        ("1700000000123456789", datetime(2023, 11, 14, 22, 13, 20, 123_456)),
        ("1.700000000123456e15", datetime(2023, 11, 14, 22, 13, 20, 123_456)),
        # Cut, not rounded, and not by way of a double.
        ("1700000000.9999999", datetime(2023, 11, 14, 22, 13, 20, 999_999)),
        ("1700000000.100000999999999999999999999999999999999999", datetime(2023, 11, 14, 22, 13, 20, 100_000)),
        ("1700000000123.4569", datetime(2023, 11, 14, 22, 13, 20, 123_456)),
        ("1700000000000000.9", datetime(2023, 11, 14, 22, 13, 20)),
        ('"2026-11-19T23:59:59.999999999Z"', datetime(2026, 11, 19, 23, 59, 59, 999_999)),
        ('"2026-11-19T23:59:59.9999999Z"', datetime(2026, 11, 19, 23, 59, 59, 999_999)),
        ('"2026-11-19T23:59:59,999999999Z"', datetime(2026, 11, 19, 23, 59, 59, 999_999)),
        ('"2026-11-19T23:59:59.9999999"', datetime(2026, 11, 19, 23, 59, 59, 999_999)),
        ('"2026-11-20T01:29:59.9999999+01:30"', datetime(2026, 11, 19, 23, 59, 59, 999_999)),
        ('"20261119T235959.9999999Z"', datetime(2026, 11, 19, 23, 59, 59, 999_999)),
        ('"2016-12-31T23:59:60Z"', datetime(2016, 12, 31, 23, 59, 59, 999_999)),
        ('"2016-12-31T23:59:60.25Z"', datetime(2016, 12, 31, 23, 59, 59, 999_999)),
        ('"2017-01-01T05:29:60+05:30"', datetime(2016, 12, 31, 23, 59, 59, 999_999)),
        ('"20161231T235960"', datetime(2016, 12, 31, 23, 59, 59, 999_999)),
        ('"2026-11-19T24:00:00Z"', datetime(2026, 11, 20)),
        ('"2026-11-19T24:00"', datetime(2026, 11, 20)),
        ('"2026-11-19T24:00:00.000+02:00"', datetime(2026, 11, 19, 22)),
        ('"20261119T24Z"', datetime(2026, 11, 20)),
        ("null", NOW.replace(tzinfo=None)),
    ],
)
@pytest.mark.parametrize("unknown", [b"", b', "else": 1'], ids=["clean", "second pass"])
def test_timestamps_become_utc(timestamp: str, expected: datetime, unknown: bytes) -> None:
    body = b'{"event": "a", "distinct_id": "b", "timestamp": ' + timestamp.encode() + unknown + b"}"
    intake = track(body)
    assert intake.lines[0].timestamp == expected.replace(tzinfo=UTC)
    assert (intake.lines[0].received_at, intake.lines[0].original_timestamp) == (NOW, "")
    assert [w for w in intake.warnings if "timestamp" in w] == []


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        ('"1999-12-31T23:59:59.999999Z"', "it is before 2000-01-01"),
        ('"2000-01-01T00:00:00+00:01"', "it is before 2000-01-01"),
        ('"0001-01-01T00:00:00Z"', "it is before 2000-01-01"),
        ('"0001-01-01T00:00:00+10:00"', "there is no such time"),
        ("0", "it is before 2000-01-01"),
        ("-1", "it is before 2000-01-01"),
        ("-1e12", "it is before 2000-01-01"),
        ("946684799.999", "it is before 2000-01-01"),
        ("253402300800000000000", "there is no such time"),
        ("1" + "0" * 30, "there is no such time"),
        ("1" + "0" * 5000, "there is no such time"),
        ("1e999", "there is no such time"),
        ("true", "expected a string or a number"),
        ("false", "expected a string or a number"),
        ("[]", "expected a string or a number"),
        ("{}", "expected a string or a number"),
        ('""', "it is not a date and time"),
        ('"yesterday"', "it is not a date and time"),
        ('"1700000000"', "it is not a date and time"),
        ('"1700000000000"', "it is not a date and time"),
        ('"2012123112345"', "it is not a date and time"),
        ('"2026-02-30T00:00:00Z"', "it is not a date and time"),
        ('"2026-11-20T24:30:00Z"', "it is not a date and time"),
        ('"2026-11-20T24:00:00.000001Z"', "it is not a date and time"),
        ('"9999-12-31T24:00:00Z"', "it is not a date and time"),
        ('"2026-11-20T11:00:61Z"', "it is not a date and time"),
        ('"2026-11-20T11:60:60Z"', "it is not a date and time"),
        ('"2026-11-20T11:00:00\\u0000Z"', "it is not a date and time"),
        ('"2026-11-20x11:00:00"', "it is not a date and time"),
        ('"٢٠٢٦-11-20T11:00:00Z"', "it is not a date and time"),
        ('"2026-11-20T11:00:00 Europe/Berlin"', "it is not a date and time"),
        ('"2026-11-20T11:00:00+00:60"', "it is not a date and time"),
        ('"2026-11-20T11:00:00-0599"', "it is not a date and time"),
        ('"2026-11-20T11:00:00+24:00"', "it is not a date and time"),
        ('"10000-01-01T00:00:00Z"', "it is not a date and time"),
    ],
)
def test_a_time_that_cannot_be_is_refused(timestamp: str, reason: str) -> None:
    error = refusal(b'{"event": "a", "distinct_id": "b", "timestamp": ' + timestamp.encode() + b"}")
    assert (error.code, error.field) == (ErrorCode.INVALID_TIMESTAMP, "timestamp")
    assert error.message.startswith(f"`timestamp`: {reason}. Use ISO 8601 (")


@pytest.mark.parametrize(
    ("timestamp", "original"),
    [
        ('"2026-11-20T13:00:00.000001Z"', "2026-11-20T13:00:00.000001Z"),
        ('"2026-11-20T15:00:00+01:00"', "2026-11-20T14:00:00Z"),
        ("1795183200", "2026-11-20T14:00:00Z"),
        ('"9999-12-31T23:59:59Z"', "9999-12-31T23:59:59Z"),
        ('"9999-12-31T23:59:59-10:00"', "9999-12-31T23:59:59Z"),
        ("99999999999", "5138-11-16T09:46:39Z"),
    ],
)
@pytest.mark.parametrize("unknown", [b"", b', "else": 1'], ids=["clean", "second pass"])
def test_a_time_far_ahead_is_the_receive_time_and_kept(timestamp: str, original: str, unknown: bytes) -> None:
    item = b'{"event": "a", "distinct_id": "b", "timestamp": ' + timestamp.encode() + unknown + b"}"
    warning = f"is more than 1 h ahead ({original}): the receive time is used"
    alone = track(item)
    assert (alone.lines[0].timestamp, alone.lines[0].original_timestamp) == (NOW, original)
    assert alone.warnings[0] == f"timestamp {warning}"
    second = track(b'[{"event": "a", "distinct_id": "b"}, ' + item + b"]")
    assert second.lines[1].original_timestamp == original
    assert second.warnings[0] == f"timestamp of event 1 {warning}"


def test_equal_keys_are_equal_ids_within_a_project_and_only_there() -> None:
    first = batch(event(idempotency_key="k"), event(idempotency_key="k"), event(idempotency_key="K"))
    assert first.ids[0] == first.ids[1] != first.ids[2]
    assert track(encode(event(idempotency_key="k", event="other"))).ids[0] == first.ids[0]
    assert batch(event(idempotency_key="k"), project_id="other").ids[0] != first.ids[0]


def test_events_without_a_key_have_ids_of_their_own() -> None:
    ids = [*batch(*[event()] * 1000).ids, *batch(*[event(zz=1)] * 1000).ids]
    assert len(set(ids)) == 2000
    assert {len(event_id) for event_id in ids} == {16}


@pytest.mark.parametrize("unknown", [{}, {"else": 1}], ids=["clean", "second pass"])
def test_the_header_key_stands_for_a_missing_one(unknown: dict[str, Any]) -> None:
    in_body = track(encode(event(idempotency_key="k"))).ids
    for body in (event(**unknown), event(idempotency_key=None, **unknown)):
        by_header = track(encode(body), header_key="k")
        assert (by_header.ids, by_header.lines[0].idempotency_key) == (in_body, "k")
    both = track(encode(event(idempotency_key="mine", **unknown)), header_key="k")
    assert both.lines[0].idempotency_key == "mine"


def test_each_bad_event_of_a_batch_is_rejected_with_its_own_reason() -> None:
    deep: Any = nested(33)
    intake = batch(
        event(event="good", idempotency_key="1"),
        event(event=5),
        {"event": "a"},
        "text",
        event(timestamp="1999-01-01"),
        event(properties=deep),
        event(distinct_id="a\0"),
        event(properties=[]),
        None,
        event(event="good too", idempotency_key="2", zz=1),
    )
    assert [line.event for line in intake.lines] == ["good", "good too"]
    assert len(intake.ids) == 2
    assert [(r.index, r.error.code.code, r.error.field) for r in intake.rejected] == [
        (1, "invalid_field", "event"),
        (2, "missing_field", "distinct_id"),
        (3, "invalid_field", None),
        (4, "invalid_timestamp", "timestamp"),
        (5, "too_deep", "properties"),
        (6, "invalid_field", "distinct_id"),
        (7, "invalid_field", "properties"),
        (8, "invalid_field", None),
    ]
    assert intake.rejected[2].error.message == "The event: expected object, got string."
    assert intake.warnings == ["unknown field `zz` ignored"]


def test_a_rejected_event_becomes_a_dead_letter_with_its_bytes_and_its_place() -> None:
    bad = {"event": 5, "distinct_id": "é"}
    letter = batch(event(), bad).rejected[0].dead_letter(PROJECT, NOW)
    assert (letter.code, letter.message) == ("invalid_field", "`event`: expected string, got integer.")
    assert (letter.origin.service, letter.origin.index, letter.project_id, letter.at) == ("edge", 1, PROJECT, NOW)
    assert json.loads(letter.payload) == bad


def test_a_dead_letter_is_whole_whatever_was_rejected() -> None:
    huge = event(properties={"x": "\\\0" * 1_000_000})
    letter = take_batch(encode({"events": [huge, event()]}), PROJECT, NOW).rejected[0].dead_letter(PROJECT, NOW)
    assert letter.code == "event_too_large"
    assert json.loads(letter.payload) == huge
    assert max(map(len, letter.records())) < 4 * 1024 * 1024
