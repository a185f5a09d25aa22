"""A fault costs the event that it is in, whatever it is: the others of the batch are taken, and its index is named."""

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_EVENT_BYTES
from services.contract.log.envelope import pack
from services.contract.log.event_ids import id_of_key
from services.edge.intake.identity import IdentityIntake, take_alias, take_group, take_identify
from services.edge.intake.second_pass import take_batch, take_track
from services.edge.intake.track import Intake

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
GOOD = b'{"event":"good","distinct_id":"u","idempotency_key":"%d"}'
EVENT = b'{"event":"e","distinct_id":"u","properties":%s}'
WITH_FIELD = b'{"event":"e","distinct_id":"u",%s}'


def take(call: str, events: list[bytes], header_key: str | None = None) -> Intake:
    array = b"[" + b",".join(events) + b"]"
    if call == "array":
        return take_track(array, "shop", NOW, header_key)
    return take_batch(b'{"events":' + array + b"}", "shop", NOW, header_key)


BOTH = pytest.mark.parametrize("call", ["batch", "array"])
HALVES = {
    "cut at its end": (b'"cut \\ud83d"', "cut \ufffd"),
    "upper case": (b'"\\uD83D!"', "\ufffd!"),
    "the second half alone": (b'"\\ude00x"', "\ufffdx"),
    "the wrong way round": (b'"\\ude00\\ud83d"', "\ufffd\ufffd"),
    "two first halves": (b'"\\ud83d\\ud83d\\ude00"', "\ufffd😀"),
    "behind an escaped backslash": (b'"\\\\\\ud83d\\\\ud83d"', "\\\ufffd\\ud83d"),
    "before an escape": (b'"\\ud83d\\n"', "\ufffd\n"),
    "before another character": (b'"\\ud83d\\u0041"', "\ufffdA"),
    "in bytes": (b'"a\xed\xa0\xbdb"', "a\ufffdb"),
    "whole, but in bytes of halves": (b'"\xed\xa0\xbd\xed\xb8\x80"', "😀"),
    "in a name": (b'{"n\\ud83d":1}', {"n\ufffd": 1}),
}


@BOTH
@pytest.mark.parametrize(("text", "value"), HALVES.values(), ids=list(HALVES))
def test_half_a_surrogate_pair_is_replaced_with_a_warning(call: str, text: bytes, value: Any) -> None:
    intake = take(call, [GOOD % 0, EVENT % (b'{"x":%s}' % text), GOOD % 2])
    assert intake.rejected == []
    assert [line.event for line in intake.lines] == ["good", "e", "good"]
    stored = json.loads(pack(intake.ids, intake.lines).lines.splitlines()[1])
    assert stored["properties"] == {"x": value}
    assert [w for w in intake.warnings if "half a surrogate pair of event 1 " in w]


def test_halves_are_replaced_in_names_ids_and_keys_too() -> None:
    body = b'{"event":"\\ud83d","distinct_id":"a\\ude00","idempotency_key":"k\\ud83d"}'
    (line,) = take_track(body, "shop", NOW).lines
    assert (line.event, line.distinct_id, line.idempotency_key) == ("\ufffd", "a\ufffd", "k\ufffd")


def test_whole_pairs_and_escaped_backslashes_stay_as_they_came() -> None:
    for text in (b'{"x":"\\ud83d\\ude00\\uD83D\\uDE00"}', b'{"x":"\\\\ud83d"}', '{"x":"😀"}'.encode()):
        intake = take_track(WITH_FIELD % (b'"properties":%s,"else":1' % text), "shop", NOW)
        assert bytes(intake.lines[0].properties) == text
        assert intake.warnings == ["unknown field `else` ignored"]


FAULTS = {
    "NaN": (EVENT % b'{"x":NaN}', ErrorCode.INVALID_JSON, None),
    "Infinity": (EVENT % b'{"x":-Infinity}', ErrorCode.INVALID_JSON, None),
    "1e400": (EVENT % b'{"ratio":1e400}', ErrorCode.INVALID_FIELD, "properties"),
    "309 digits": (EVENT % (b'{"x":[%s]}' % (b"9" * 309)), ErrorCode.INVALID_FIELD, "properties"),
    "33 levels": (EVENT % (b'{"x":' * 33 + b"1" + b"}" * 33), ErrorCode.TOO_DEEP, "properties"),
    "1000 levels": (EVENT % (b'{"x":' + b"[" * 1000 + b"]" * 1000 + b"}"), ErrorCode.TOO_DEEP, "properties"),
    "100,000 levels": (EVENT % (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), ErrorCode.TOO_DEEP, "properties"),
    "single quotes": (b"{'event':'a','distinct_id':'b'}", ErrorCode.INVALID_JSON, None),
    "bad UTF-8": (EVENT % b'{"x":"\xe4"}', ErrorCode.INVALID_JSON, None),
    "control character": (EVENT % b'{"x":"a\x01b"}', ErrorCode.INVALID_JSON, None),
    "NUL byte": (EVENT % b'{"x":"a\0b"}', ErrorCode.INVALID_JSON, None),
    "unknown escape": (EVENT % b'{"x":"\\x41"}', ErrorCode.INVALID_JSON, None),
    "leading zero": (EVENT % b'{"x":01}', ErrorCode.INVALID_JSON, None),
    "comma too many": (EVENT % b'{"x":1,}', ErrorCode.INVALID_JSON, None),
    "nothing": (b"", ErrorCode.INVALID_JSON, None),
    "no object": (b'"text"', ErrorCode.INVALID_FIELD, None),
    "too large": (EVENT % (b'{"x":"%s"}' % (b"x" * 600_000)), ErrorCode.EVENT_TOO_LARGE, None),
    "too large, by blanks": (
        WITH_FIELD % (b'"timestamp":' + b" " * 600_000 + b"null"),
        ErrorCode.EVENT_TOO_LARGE,
        None,
    ),
    "too large, by what stands twice": (
        EVENT % (b'{"x":"%s"},"properties":{}' % (b"x" * 600_000)),
        ErrorCode.EVENT_TOO_LARGE,
        None,
    ),
    "too large, by its time": (
        WITH_FIELD % (b'"timestamp":1795170000.' + b"0" * 600_000),
        ErrorCode.EVENT_TOO_LARGE,
        None,
    ),
    "a time out of range": (WITH_FIELD % b'"timestamp":1e400', ErrorCode.INVALID_TIMESTAMP, "timestamp"),
    "no comma behind an unknown field": (WITH_FIELD % b'"zz":1 "properties":{"a":1}', ErrorCode.INVALID_JSON, None),
    "no comma behind unknown text": (WITH_FIELD % b'"zz":"1"\t"properties" :{"a":1}', ErrorCode.INVALID_JSON, None),
    "no colon beside an unknown field": (WITH_FIELD % b'"zz":1,"properties" {"a":1}', ErrorCode.INVALID_JSON, None),
    "no quotes beside an unknown field": (WITH_FIELD % b'"zz":1,properties:{"a":1}', ErrorCode.INVALID_JSON, None),
    "a key that is a number": (WITH_FIELD % b'"idempotency_key":1e400', ErrorCode.INVALID_FIELD, None),
}


@BOTH
@pytest.mark.parametrize("over", [-1, 0, 1, 900])
def test_the_size_of_an_event_counts_to_the_byte(call: str, over: int) -> None:
    properties = b'{"x":"%s"}' % (b"x" * (MAX_EVENT_BYTES // 2 - 8))
    event = b'{"event":"%s","distinct_id":"%s","idempotency_key":"%s","properties":%s' % (
        b"e" * 200,
        b"d" * 512,
        b"k" * 256,
        properties,
    )
    event += b" " * (MAX_EVENT_BYTES + over - len(event) - 1) + b"}"
    intake = take(call, [event])
    assert (len(intake.lines), len(intake.rejected)) == ((0, 1) if over > 0 else (1, 0))


@BOTH
@pytest.mark.parametrize(("bad", "code", "field"), FAULTS.values(), ids=list(FAULTS))
def test_a_fault_costs_its_event_alone(call: str, bad: bytes, code: ErrorCode, field: str | None) -> None:
    intake = take(call, [GOOD % 0, bad, GOOD % 2])
    assert [line.idempotency_key for line in intake.lines] == ["0", "2"]
    assert [(r.index, r.error.code, r.payload) for r in intake.rejected] == [(1, code, bad)]
    assert intake.rejected[0].error.field == (field or intake.rejected[0].error.field)


UNKNOWN = {
    "deep": b"[" * 5000 + b"]" * 5000,
    "1e400": b"1e400",
    "NaN": b"NaN",
    "half a pair": b'"\\ud83d"',
    "bad UTF-8": b'"\xff"',
    "no JSON at all": b"(function(){})",
    "a call with text": b'new Date("2026-11-20")',
    "a call with an object": b'f({"a":1})',
    "a time without quotes": b"2026-11-20T12:00:00Z",
    "a comma in a number": b"1,5",
    "many colons": b"a" + b":b" * 90,
}


@pytest.mark.parametrize("value", UNKNOWN.values(), ids=list(UNKNOWN))
def test_unknown_fields_are_skipped_whatever_they_hold(value: bytes) -> None:
    warning = "unknown field `zz` ignored"
    event = WITH_FIELD % (b'"zz":%s,"properties":{"a":1}' % value)
    for intake in (take_track(event, "shop", NOW), take("batch", [event]), take("array", [GOOD % 1, event])):
        assert (intake.rejected, bytes(intake.lines[-1].properties)) == ([], b'{"a":1}')
        assert warning in intake.warnings
    beside = take_batch(b'{"zz":%s,"events":[%s]}' % (value, GOOD % 1), "shop", NOW)
    assert (len(beside.lines), beside.warnings) == (1, [warning])
    identify = take_identify(b'{"zz":%s,"distinct_id":"u"}' % value, "shop", NOW, None)
    assert identify.lines
    assert warning in identify.warnings


@pytest.mark.parametrize(
    "body",
    [b"{events:[%s]}", b"{'events':[%s]}", b'{"zz":1 "events":[%s]}', b'{"zz":"a""events":[%s]}', b'{"events"[%s]}'],
)
def test_events_that_no_parser_finds_are_not_said_to_be_missing(body: bytes) -> None:
    with pytest.raises(ApiError, match=r"The body is not valid JSON: .* \(byte \d+\)") as refused:
        take_batch(body % (GOOD % 1), "shop", NOW)
    assert refused.value.code is ErrorCode.INVALID_JSON
    with pytest.raises(ApiError, match="`events` is required"):
        take_batch(b'{"zz":NaN}', "shop", NOW)


def test_an_unknown_field_of_any_name_is_named() -> None:
    body = b'{"event":"e","distinct_id":"u","":1,"a\\nb":2,"\\ud83d":3}'
    assert "unknown field `\ufffd` ignored" in take_track(body, "shop", NOW).warnings


@pytest.mark.parametrize("events", [[b"{}", b"7"], [EVENT % b'{"x":NaN}'] * 2], ids=["invalid", "not JSON"])
def test_a_batch_of_faults_alone_rejects_each(events: list[bytes]) -> None:
    assert [r.index for r in take("batch", events).rejected] == [0, 1]


# Encodings.


@pytest.mark.parametrize("marks", [1, 2, 3])
def test_byte_order_marks_are_skipped_in_all_calls_alike(marks: int) -> None:
    bom = b"\xef\xbb\xbf" * marks
    assert len(take_track(bom + GOOD % 1, "shop", NOW).lines) == 1
    assert len(take_track(bom + b"[" + GOOD % 1 + b"]", "shop", NOW).lines) == 1
    assert len(take_batch(bom + b'{"events":[%s]}' % (GOOD % 1), "shop", NOW).lines) == 1
    assert take_identify(bom + b'{"distinct_id":"u"}', "shop", NOW, None).lines


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_another_encoding_is_named(encoding: str) -> None:
    for text in ('{"events": []}', '{"event": "é"}', "[{}]"):
        with pytest.raises(ApiError, match=rf"The body is {encoding[:6].upper()}\. Send JSON as UTF-8\.") as refused:
            take_batch(text.encode(encoding), "shop", NOW)
        assert refused.value.code is ErrorCode.INVALID_JSON


def test_latin_1_is_told_to_be_utf_8() -> None:
    with pytest.raises(ApiError, match=r"not valid UTF-8: .* \(byte \d+\)\. Send JSON as UTF-8\."):
        take_track('{"event": "é", "distinct_id": "u"}'.encode("latin-1"), "shop", NOW)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", list(COMPRESS))
@pytest.mark.parametrize("call", [take_track, take_batch, take_identify, take_alias, take_group])
def test_a_compressed_body_without_its_header_is_told_the_header(encoding: str, call: Any) -> None:
    with pytest.raises(ApiError, match=f"compressed .{encoding}.*Add `Content-Encoding: {encoding}`") as refused:
        call(COMPRESS[encoding](GOOD % 1), "shop", NOW, None)
    assert refused.value.code is ErrorCode.INVALID_ENCODING


@pytest.mark.parametrize("item", [GOOD % 1, b'{"event":"e","distinct_id":"u","not_ours":01}'])
def test_brackets_of_the_wrong_kind_are_refused(item: bytes) -> None:
    for body in (b'{"events":[%s}}', b'{"events":[%s}]', b'{"events":[%s]]', b'{"events":{%s]}'):
        with pytest.raises(ApiError):
            take_batch(body % item, "shop", NOW)
    for body in (b"[%s}", b"[%s,%s}"):
        with pytest.raises(ApiError):
            take_track(body.replace(b"%s", item), "shop", NOW)
    with pytest.raises(ApiError, match="not valid JSON"):
        take_track(item[:-1] + b"]", "shop", NOW)
    assert len(take("batch", [GOOD % 2, item[:-1] + b"]"]).rejected) == 1


@BOTH
def test_an_event_of_a_batch_may_have_a_byte_order_mark_before_it(call: str) -> None:
    intake = take(call, [b"\xef\xbb\xbf" + GOOD % 0, b"\xef\xbb\xbf" + GOOD % 1, b"\n" + GOOD % 2])
    assert intake.rejected == []
    assert [line.idempotency_key for line in intake.lines] == ["0", "1", "2"]


# Keys.


@pytest.mark.parametrize("key", ["undefined", "UNDEFINED", "null", " ", "", "NaN", "[object Object]", "{}", "nUlL"])
@pytest.mark.parametrize("call", ["track", "batch", "array"])
def test_keys_of_a_broken_client_count_as_absent(call: str, key: str) -> None:
    event = json.dumps({"event": "e", "distinct_id": "u", "idempotency_key": key}).encode()
    if call == "track":
        taken = [take_track(event, "shop", NOW) for _ in range(3)]
        ids, lines, warnings = (
            [i.ids[0] for i in taken],
            [i.lines[0] for i in taken],
            taken[0].warnings,
        )
    else:
        intake = take(call, [event] * 3)
        ids, lines, warnings = intake.ids, intake.lines, intake.warnings
    assert len(set(ids)) == 3
    assert [line.idempotency_key for line in lines] == [""] * 3
    assert f"the idempotency key `{key}`" in warnings[0]
    assert "counts as absent" in warnings[0]


@BOTH
def test_the_header_gives_keys_to_the_events_of_a_request_that_have_none(call: str) -> None:
    plain, other = b'{"event":"e","distinct_id":"u"}', b'{"event":"f","distinct_id":"u"}'
    own = GOOD % 7
    first = take(call, [plain, other, own, plain], "order-1")
    assert len(set(first.ids)) == 4
    assert first.ids[2] == id_of_key("shop", "7")
    assert take(call, [plain, other, own, plain], "order-1").ids == first.ids
    # Some of its events again, in another order.
    assert take(call, [plain, plain, other], "order-1").ids == [first.ids[0], first.ids[3], first.ids[1]]
    assert not set(take(call, [plain, other], "order-2").ids) & set(first.ids)
    keys = [line.idempotency_key for line in first.lines]
    assert [id_of_key("shop", key) for key in keys] == first.ids


def test_the_header_means_the_same_in_a_batch_and_an_array_and_a_bad_event_changes_nothing() -> None:
    plain, other = b'{"event":"e","distinct_id":"u"}', b'{"event":"f","distinct_id":"u"}'
    ids = take("batch", [plain, other], "k").ids
    assert take("array", [plain, b"7", other], "k").ids == ids
    assert take_track(plain, "shop", NOW, "k").ids == [id_of_key("shop", "k")]


def test_a_key_names_one_message_of_one_kind() -> None:
    event = b'{"event":"e","distinct_id":"u","idempotency_key":"k"}'
    identity: list[IdentityIntake] = [
        take_identify(b'{"distinct_id":"u","idempotency_key":"k"}', "shop", NOW, None),
        take_alias(b'{"old_id":"a","new_id":"u"}', "shop", NOW, "k"),
        take_group(b'{"distinct_id":"u","group_type":"t","group_key":"g","idempotency_key":"k"}', "shop", NOW, None),
    ]
    ids = [*take_track(event, "shop", NOW).ids, *[intake.ids[0] for intake in identity]]
    assert len(set(ids)) == 4
    assert ids[0] == take("batch", [event]).ids[0] == id_of_key("shop", "k")
    assert all(intake.lines[0].idempotency_key == "k" for intake in identity)


# Order.


@BOTH
@pytest.mark.parametrize("flaw", [b"", b',"zz":1'], ids=["clean", "second pass"])
def test_each_event_is_received_a_microsecond_after_the_one_before(call: str, flaw: bytes) -> None:
    timed = b'{"event":"e","distinct_id":"u","timestamp":"2026-11-20T12:00:00Z"%s}' % flaw
    untimed = b'{"event":"e","distinct_id":"u"%s}' % flaw
    ahead = b'{"event":"e","distinct_id":"u","timestamp":"2026-11-21T12:00:00Z"%s}' % flaw
    for events in ([timed] * 3, [untimed] * 3, [timed, untimed, ahead, timed] * 10):
        lines = take(call, events).lines
        received = [NOW + timedelta(microseconds=i) for i in range(len(events))]
        assert [line.received_at for line in lines] == received
        expected = [NOW if event == timed else at for event, at in zip(events, received, strict=True)]
        assert [line.timestamp for line in lines] == expected
