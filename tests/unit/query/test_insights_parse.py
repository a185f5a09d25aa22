"""Request bodies that no query can be made of: each names the field and what was expected."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.contract.api.dashboards import MAX_DASHBOARD_QUERIES
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.events import EventsQuery
from services.contract.api.path import PathQuery
from services.contract.api.retention import RetentionQuery
from services.query.dashboards.request import parse_dashboard, parse_delete
from services.query.insights.events import EventsSpec
from services.query.insights.registry import parse_query, parse_saved_query
from services.query.request.cursor import Position, write_cursor

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
RETENTION = {**WINDOW, "born_event": "a", "return_event": "b"}
PATH = {**WINDOW, "start_event": "a"}
PARSERS: dict[str, Callable[[bytes], Any]] = {
    "events": lambda body: parse_query("events", body, "p"),
    "retention": lambda body: parse_query("retention", body, "p"),
    "path": lambda body: parse_query("path", body, "p"),
    "dashboard": lambda body: parse_dashboard(body, "p"),
}


def events(body: dict[str, Any], project_id: str = "p") -> tuple[EventsSpec, list[str]]:
    query, warnings = parse_query("events", json.dumps(body).encode(), project_id)
    assert isinstance(query, EventsSpec)
    return query, warnings


def error_of(parser: str, body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        PARSERS[parser](body)
    return caught.value


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ErrorCode.INVALID_JSON),
        (b"{", ErrorCode.INVALID_JSON),
        (b'{"since": NaN}', ErrorCode.INVALID_JSON),
        (b'{"x": "\xff"}', ErrorCode.INVALID_JSON),
        (b"\x00", ErrorCode.INVALID_JSON),
        (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", ErrorCode.TOO_DEEP),
        (b"[]", ErrorCode.INVALID_FIELD),
        (b"null", ErrorCode.INVALID_FIELD),
        (b'"x"', ErrorCode.INVALID_FIELD),
        (b"1", ErrorCode.INVALID_FIELD),
        (b"{}", ErrorCode.MISSING_FIELD),
    ],
)
def test_no_object(parser: str, body: bytes, code: ErrorCode) -> None:
    assert error_of(parser, body).code is code


BAD_FIELDS: list[tuple[str, dict[str, Any], ErrorCode, str]] = [
    ("events", {"since": True}, ErrorCode.INVALID_FIELD, "since"),
    ("events", {"since": None}, ErrorCode.MISSING_FIELD, "since"),
    ("events", {"until": ["2024-01-01"]}, ErrorCode.INVALID_FIELD, "until"),
    ("events", {"since": "x"}, ErrorCode.INVALID_TIMESTAMP, "since"),
    ("events", {"until": "2023-01-01"}, ErrorCode.INVALID_WINDOW, "until"),
    ("events", {"timezone": "Berlin"}, ErrorCode.INVALID_TIMEZONE, "timezone"),
    ("events", {"timezone": 1}, ErrorCode.INVALID_FIELD, "timezone"),
    ("events", {"limit": 0}, ErrorCode.INVALID_FIELD, "limit"),
    ("events", {"limit": 1001}, ErrorCode.INVALID_FIELD, "limit"),
    ("events", {"limit": 10**30}, ErrorCode.INVALID_FIELD, "limit"),
    ("events", {"limit": 1.5}, ErrorCode.INVALID_FIELD, "limit"),
    ("events", {"limit": "10"}, ErrorCode.INVALID_FIELD, "limit"),
    ("events", {"order": "up"}, ErrorCode.INVALID_FIELD, "order"),
    ("events", {"cursor": "x"}, ErrorCode.INVALID_CURSOR, "cursor"),
    ("events", {"cursor": "x" * 300}, ErrorCode.INVALID_FIELD, "cursor"),
    ("events", {"filter": [1]}, ErrorCode.INVALID_FILTER, "filter"),
    ("events", {"filter": {"a": {"like": 1}}}, ErrorCode.INVALID_FILTER, "filter.a"),
    ("retention", {"born_event": ""}, ErrorCode.INVALID_FIELD, "born_event"),
    ("retention", {"born_event": "x" * 201}, ErrorCode.INVALID_FIELD, "born_event"),
    ("retention", {"return_event": "a\0"}, ErrorCode.INVALID_FIELD, "return_event"),
    ("retention", {"return_event": 5}, ErrorCode.INVALID_FIELD, "return_event"),
    ("retention", {"interval": "year"}, ErrorCode.INVALID_FIELD, "interval"),
    ("retention", {"interval": "hour", "since": 0}, ErrorCode.QUERY_TOO_EXPENSIVE, "interval"),
    ("retention", {"since": "0001-01-01", "until": "9999-01-01"}, ErrorCode.QUERY_TOO_EXPENSIVE, "interval"),
    ("retention", {"filter": {"person.a": {"like": 1}}}, ErrorCode.INVALID_FILTER, "filter.person.a"),
    ("retention", {"aggregate_by": ""}, ErrorCode.INVALID_FIELD, "aggregate_by"),
    ("retention", {"aggregate_by": "x" * 201}, ErrorCode.INVALID_FIELD, "aggregate_by"),
    ("retention", {"aggregate_by": ["company"]}, ErrorCode.INVALID_FIELD, "aggregate_by"),
    ("path", {"filter": "x"}, ErrorCode.INVALID_FILTER, "filter"),
    ("path", {"aggregate_by": "a\0"}, ErrorCode.INVALID_FIELD, "aggregate_by"),
    ("retention", {"mode": "off"}, ErrorCode.INVALID_FIELD, "mode"),
    ("retention", {"first_time": 1}, ErrorCode.INVALID_FIELD, "first_time"),
    ("retention", {"min_occurrences": 0}, ErrorCode.INVALID_FIELD, "min_occurrences"),
    ("retention", {"min_occurrences": 1001}, ErrorCode.INVALID_FIELD, "min_occurrences"),
    ("retention", {"week_start": "friday"}, ErrorCode.INVALID_FIELD, "week_start"),
    ("retention", {"breakdown": "person_id"}, ErrorCode.INVALID_FIELD, "breakdown"),
    ("retention", {"top": 101}, ErrorCode.INVALID_FIELD, "top"),
    ("retention", {"interval": "hour", "breakdown": "x", "top": 100}, ErrorCode.QUERY_TOO_EXPENSIVE, "top"),
    ("path", {"max_depth": 0}, ErrorCode.INVALID_FIELD, "max_depth"),
    ("path", {"max_depth": 21}, ErrorCode.INVALID_FIELD, "max_depth"),
    ("path", {"top": 0}, ErrorCode.INVALID_FIELD, "top"),
    ("path", {"top": 101}, ErrorCode.INVALID_FIELD, "top"),
    ("path", {"collapse_repeats": 1}, ErrorCode.INVALID_FIELD, "collapse_repeats"),
    ("path", {"session_gap_seconds": 0}, ErrorCode.INVALID_FIELD, "session_gap_seconds"),
    ("path", {"session_gap_seconds": 10**20}, ErrorCode.INVALID_FIELD, "session_gap_seconds"),
    ("path", {"end_event": ""}, ErrorCode.INVALID_FIELD, "end_event"),
    ("path", {"end_event": "\0"}, ErrorCode.INVALID_FIELD, "end_event"),
    ("path", {"start_event": 1}, ErrorCode.INVALID_FIELD, "start_event"),
    ("path", {"direction": "back"}, ErrorCode.INVALID_FIELD, "direction"),
    ("retention", {"breakdown": "person.plan"}, ErrorCode.INVALID_FIELD, "breakdown"),
    ("retention", {"breakdown": "group.company.plan"}, ErrorCode.INVALID_FIELD, "breakdown"),
    ("retention", {"breakdown": "group."}, ErrorCode.INVALID_FIELD, "breakdown"),
]
GOOD = {"events": WINDOW, "retention": RETENTION, "path": PATH}


@pytest.mark.parametrize(("parser", "change", "code", "field"), BAD_FIELDS)
def test_bad_field(parser: str, change: dict[str, Any], code: ErrorCode, field: str) -> None:
    error = error_of(parser, json.dumps({**GOOD[parser], **change}).encode())
    assert (error.code, error.field) == (code, field)
    assert f"`{field}`" in error.message or code is ErrorCode.QUERY_TOO_EXPENSIVE


@pytest.mark.parametrize(("kind", "change", "code", "field"), BAD_FIELDS)
def test_bad_field_of_a_saved_query(kind: str, change: dict[str, Any], code: ErrorCode, field: str) -> None:
    queries = [{"type": "path", **PATH}, {"type": kind, **GOOD[kind], **change}]
    error = error_of("dashboard", json.dumps({"name": "x", "queries": queries}).encode())
    assert (error.code, error.field) == (code, f"queries[1].{field}")


@pytest.mark.parametrize("parser", GOOD)
@pytest.mark.parametrize("number", ["1e400", "-1e400"])
def test_a_number_that_no_double_holds(parser: str, number: str) -> None:
    body = json.dumps({**GOOD[parser], "since": 0}).replace('"since": 0', f'"since": {number}').encode()
    error = error_of(parser, body)
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, "since")


@pytest.mark.parametrize("missing", RETENTION)
def test_missing_field(missing: str) -> None:
    error = error_of("retention", json.dumps({k: v for k, v in RETENTION.items() if k != missing}).encode())
    assert (error.code, error.field) == (ErrorCode.MISSING_FIELD, missing)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"name": ""}, ErrorCode.INVALID_FIELD, "name"),
        ({"name": "x" * 201}, ErrorCode.INVALID_FIELD, "name"),
        ({"name": "a\0"}, ErrorCode.INVALID_FIELD, "name"),
        ({"queries": {}}, ErrorCode.INVALID_FIELD, "queries"),
        ({"queries": [[]]}, ErrorCode.INVALID_FIELD, "queries[0]"),
        ({"queries": [None]}, ErrorCode.INVALID_FIELD, "queries[0]"),
        ({"queries": [{}]}, ErrorCode.MISSING_FIELD, "queries[0].type"),
        ({"queries": [{"type": 1}]}, ErrorCode.INVALID_FIELD, "queries[0].type"),
        ({"queries": [{"type": "sql", "sql": "DROP"}]}, ErrorCode.INVALID_FIELD, "queries[0].type"),
        ({"queries": [{"type": "path", **PATH, "title": 1}]}, ErrorCode.INVALID_FIELD, "queries[0].title"),
        ({"queries": [{"type": "path", **PATH, "width": 13}]}, ErrorCode.INVALID_FIELD, "queries[0].width"),
        ({"queries": [{}] * (MAX_DASHBOARD_QUERIES + 1)}, ErrorCode.INVALID_FIELD, "queries"),
        ({"idempotency_key": ""}, ErrorCode.INVALID_FIELD, "idempotency_key"),
        ({"idempotency_key": "x" * 257}, ErrorCode.INVALID_FIELD, "idempotency_key"),
    ],
)
def test_bad_dashboard(change: dict[str, Any], code: ErrorCode, field: str) -> None:
    error = error_of("dashboard", json.dumps({"name": "x", "queries": [], **change}).encode())
    assert (error.code, error.field) == (code, field)


def test_a_type_that_is_not_known_is_told_which_are() -> None:
    with pytest.raises(ApiError, match=r"events, retention, path"):
        parse_saved_query(b'{"type": "flow"}', "p")


def test_unknown_fields_are_named_and_do_no_harm() -> None:
    query, warnings = events({**WINDOW, "filters": {}, "Limit": 5})
    assert warnings == ["unknown field `Limit` ignored", "unknown field `filters` ignored"]
    assert query.limit == 1000
    new, warnings = parse_dashboard(
        json.dumps({"name": "x", "queries": [{"type": "path", **PATH, "colour": "red"}], "x": 1}).encode(), "p"
    )
    assert warnings == ["unknown field `x` ignored", "queries[0]: unknown field `colour` ignored"]
    assert json.loads(bytes(new.queries[0]))["colour"] == "red"


def test_a_thousand_unknown_fields_are_not_all_named() -> None:
    assert len(events({**WINDOW, **{f"x{i}": i for i in range(1000)}})[1]) == 20


def test_null_is_absent() -> None:
    for parser, good, kind in (
        ("events", WINDOW, EventsQuery),
        ("retention", RETENTION, RetentionQuery),
        ("path", PATH, PathQuery),
    ):
        nulls = {name: None for name in kind.__struct_fields__ if name not in good}
        parse = PARSERS[parser]
        assert parse(json.dumps({**good, **nulls}).encode()) == parse(json.dumps(good).encode())


def test_a_cursor_is_of_one_project_window_filter_and_order() -> None:
    query, _ = events({**WINDOW, "filter": {"a": 1, "b": 2}})
    cursor = write_cursor(Position(5, bytes(16)), query.identity("p"))
    same = {**WINDOW, "since": 1704067200, "filter": {"b": 2, "a": {"eq": 1}}, "limit": 7, "cursor": cursor}
    assert events(same)[0].after == Position(5, bytes(16))
    for change in ({"filter": {"a": 1}}, {"until": "2024-02-02"}, {"order": "desc"}, {"filter": {"a": "1", "b": 2}}):
        assert error_of("events", json.dumps({**same, **change}).encode()).code is ErrorCode.INVALID_CURSOR
    with pytest.raises(ApiError):
        events(same, "another project")


def test_delete_takes_no_body_and_any_object() -> None:
    assert parse_delete(b"") == []
    assert parse_delete(b'{"idempotency_key": "x", "y": 1}') == ["unknown field `y` ignored"]
    with pytest.raises(ApiError):
        parse_delete(b"[]")
