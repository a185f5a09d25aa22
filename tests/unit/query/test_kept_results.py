"""Kept results: bounded by bytes, of the latest state of the data; and the months that an answer depends on."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.query.execution.kept_results import KeptResults
from services.query.insights.dependencies import key_of, months_read
from services.query.insights.registry import Asked, asked, decode_query

NOW = datetime(2026, 3, 18, tzinfo=UTC)
WINDOW = {"since": "2025-12-31T23:00:00+00:00", "until": "2026-03-01"}
MONTHS = [202512, 202601, 202602]
STEPS = {"steps": [{"event": "a"}, {"event": "b"}]}
TRENDS = {"series": [{"event": "a"}]}


def of(kind: str, body: dict[str, Any]) -> Asked:
    query, _ = decode_query(kind, json.dumps({**WINDOW, **body}).encode())
    return asked(kind, query, "p", NOW)


@pytest.mark.parametrize(
    ("kind", "body", "months"),
    [
        ("trends", TRENDS, MONTHS),
        ("trends", {**TRENDS, "until": "2026-03-01T00:00:00.000001Z"}, [*MONTHS, 202603]),
        ("trends", {**TRENDS, "since": "2026-02-01", "compare": "previous"}, [202601, 202602]),
        ("trends", {**TRENDS, "timezone": "Asia/Tokyo"}, MONTHS),
        ("events", {}, MONTHS),
        ("events", {"cohort": {"traits": {"person.plan": "pro"}}}, None),
        ("funnel", STEPS, MONTHS),
        ("funnel", {**STEPS, "conversion_window_seconds": 1}, [*MONTHS, 202603]),
        ("funnel", {**STEPS, "cohort": {"saved": "x"}}, None),
        ("retention", {"born_event": "a", "return_event": "b"}, MONTHS),
        ("retention", {"born_event": "a", "return_event": "b", "first_time": True}, None),
    ],
)
def test_the_months_that_an_answer_depends_on(kind: str, body: dict[str, Any], months: Any) -> None:
    assert months_read(of(kind, body)) == months


def test_a_key_is_of_what_the_answer_shows() -> None:
    body: dict[str, Any] = {**TRENDS, "until": "2026-04-01"}
    key = key_of("p", of("trends", body), [], NOW)
    later = NOW.replace(hour=23)
    assert key_of("p", of("trends", body), [], later) == key
    # A day has ended: the answer says so.
    assert key_of("p", of("trends", body), [], NOW.replace(day=19)) != key
    assert key_of("q", of("trends", body), [], NOW) != key
    assert key_of("p", of("trends", body), ["w"], NOW) != key
    for change in ({"timezone": "Asia/Tokyo"}, {"breakdown": "x"}, {"compare": "previous"}, {"week_start": "sunday"}):
        assert key_of("p", of("trends", {**body, **change}), [], NOW) != key


def test_kept_results_are_bounded_by_bytes() -> None:
    kept = KeptResults(10_000)
    for i in range(100):
        kept.put(b"%d" % i, b"f", b"x" * 700)
        assert kept.held_bytes <= 10_000
    assert kept.get(b"99", b"f") == b"x" * 700
    assert kept.get(b"0", b"f") is None
    kept.put(b"large", b"f", b"x" * 2500)
    assert kept.get(b"large", b"f") is None
    # Used last, it stays longest; of another state of the data, it goes.
    kept.get(b"92", b"f")
    for i in range(8):
        kept.put(b"new %d" % i, b"f", b"x" * 700)
    assert kept.get(b"92", b"f") is not None
    held = kept.held_bytes
    assert kept.get(b"92", b"g") is None
    assert kept.held_bytes == held - 1000
