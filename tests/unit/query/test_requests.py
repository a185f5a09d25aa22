"""What query calls take that is not as it should be, as ingest takes it."""

from typing import Any

import msgspec
import pytest
from starlette.requests import Request

from services.contract.api.errors import ApiError, ErrorCode
from services.query.dashboards.request import parse_dashboard
from services.query.http.requests import idempotency_key, known_tags
from services.query.insights.registry import decode_query
from services.query.persons.people import decode_people
from services.query.persons.request import parse_privacy_delete
from services.query.request.decode import FIRST_COUNTS

WINDOW = b'"since":"2024-01-01","until":"2024-02-01"'
HALVES = "half a surrogate pair is replaced by U+FFFD: do not cut strings inside a character"


def request(key: str | None) -> Request:
    headers = [] if key is None else [(b"idempotency-key", key.encode())]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        (['if-none-match: "a"', 'if-none-match: W/"b", "c"'], ["a", "b", "c"]),
        (["accept: application/json;q=0.5", "accept: text/csv", 'if-none-match: "a-csv"', 'if-none-match: "b"'], ["a"]),
    ],
)
def test_lines_of_a_header_are_one_list(lines: list[str], tags: list[str]) -> None:
    headers = [tuple(line.encode().split(b": ")) for line in lines]
    assert known_tags(Request({"type": "http", "headers": headers})) == tags


@pytest.mark.parametrize("marks", [1, 2])
def test_byte_order_marks_are_skipped(marks: int) -> None:
    mark = b"\xef\xbb\xbf" * marks
    assert decode_query("events", mark + b"{%s}" % WINDOW)[1] == []
    assert parse_privacy_delete(mark + b'{"distinct_id":"u"}')[0].distinct_id == "u"
    assert parse_dashboard(mark + b'{"name":"a","queries":[]}', "p")[0].name == "a"


@pytest.mark.parametrize(("text", "whole"), [(rb"cut \ud83d", "cut \ufffd"), (b"\xed\xb8\x80", "\ufffd")])
def test_half_a_surrogate_pair_is_replaced_as_it_is_in_events(text: bytes, whole: str) -> None:
    query: Any
    query, warnings = decode_query("events", b'{%s,"filter":{"event":"%s"},"zz":"%s"}' % (WINDOW, text, text))
    assert (msgspec.json.decode(query.filter), warnings) == ({"event": whole}, [HALVES, "unknown field `zz` ignored"])
    assert parse_privacy_delete(b'{"distinct_id":"%s"}' % text)[0].distinct_id == whole
    new, warnings = parse_dashboard(b'{"name":"%s","queries":[{"type":"events",%s}]}' % (text, WINDOW), "p")
    assert (new.name, warnings) == (whole, [HALVES])
    body = b'{"query":{"type":"cohort","cohort":{"did":"%s",%s}},"cell":{"%s":1}}' % (text, WINDOW, text)
    assert decode_people(body)[1] == [HALVES, f"cell: unknown field `{whole}` ignored"]


def test_of_a_name_that_stands_twice_the_first_counts_as_it_does_in_events() -> None:
    query: Any
    query, warnings = decode_query("events", b'{%s,"filter":{"n":1,"n":2,"m":{"gt":1,"gt":5}}}' % WINDOW)
    assert msgspec.json.decode(query.filter) == {"n": 1, "m": {"gt": 1}}
    assert warnings == [FIRST_COUNTS]
    asked, warnings = parse_privacy_delete(b'{"distinct_id" : "u","distinct_id":"v"}')
    assert (asked.distinct_id, warnings) == ("u", [FIRST_COUNTS])
    new, warnings = parse_dashboard(b'{"name":"a","queries":[{"type":"events",%s,"limit":1,"limit":2}]}' % WINDOW, "p")
    assert msgspec.json.decode(new.queries[0])["limit"] == 1
    assert warnings == [FIRST_COUNTS]
    body = b'{"query":{"type":"trends",%s,"series":[{"event":"e"}]},"cell":{"series":0,"series":1}}' % WINDOW
    assert FIRST_COUNTS in decode_people(body)[1]


def test_what_is_no_json_is_not_mended() -> None:
    for number in (b"NaN", b"Infinity", b"01"):
        with pytest.raises(ApiError):
            decode_query("events", b'{%s,"limit":1,"limit":2,"zz":%s}' % (WINDOW, number))


def test_what_ends_early_is_told_so() -> None:
    with pytest.raises(ApiError, match="ends before its last bracket") as refused:
        decode_query("events", b'{"since":"2024')
    assert refused.value.code is ErrorCode.INVALID_JSON


@pytest.mark.parametrize(
    ("body", "header", "key", "warned"),
    [
        ("k", "h", "k", []),
        (None, "h", "h", []),
        (None, None, None, []),
        ("undefined", None, None, ["the idempotency key `undefined` is"]),
        ("NULL", "h", "h", ["the idempotency key `NULL` is"]),
        (None, "[object Object]", None, ["the idempotency key `[object Object]` in the header is"]),
        (" ", "nan", None, ["the idempotency key ` ` is", "the idempotency key `nan` in the header is"]),
    ],
)
def test_a_placeholder_is_no_key(body: str | None, header: str | None, key: str | None, warned: list[str]) -> None:
    warnings: list[str] = []
    assert idempotency_key(request(header), body, warnings) == key
    assert len(warnings) == len(warned)
    assert all(map(str.startswith, warnings, warned))
