"""Answers as CSV: read back by a plain reader, they have the answers' numbers; no cell is a formula."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import Raw

from services.contract.api.events import EventsResult, StoredEvent
from services.contract.api.funnel import FunnelResult, FunnelStepResult
from services.contract.api.path import PathNode, PathResult
from services.contract.api.people import ListedPerson, PeopleResult
from services.contract.api.retention import RetentionBreakdown, RetentionResult
from services.contract.api.trends import TrendLine, TrendSeriesResult, TrendsResult
from services.query.http.tables import csv_lines, table_of, wants_csv

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(kind: str, answer: Any) -> list[list[str]]:
    text = b"".join(csv_lines(table_of(kind, answer))).decode()
    assert text.endswith("\r\n")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def trends(*values: float | None) -> TrendsResult:
    line = TrendLine(kind="value", values=list(values), value=Raw(b'"=1+1"'))
    series = [TrendSeriesResult(event=None, measure="sum", lines=[line])]
    periods, complete = [MOMENT] * len(values), [True] * len(values)
    return TrendsResult(interval="day", periods=periods, complete=complete, series=series)


def test_trends_have_a_row_for_each_number() -> None:
    assert read("trends", trends(1, -2.5, None)) == [
        ["series", "event", "measure", "line", "value", "period", "number", "complete"],
        ["0", "*", "sum", "value", "'=1+1", "2026-03-01T12:00:00Z", "1", "true"],
        ["0", "*", "sum", "value", "'=1+1", "2026-03-01T12:00:00Z", "-2.5", "true"],
        ["0", "*", "sum", "value", "'=1+1", "2026-03-01T12:00:00Z", "", "true"],
    ]


def test_a_window_that_is_compared_is_named() -> None:
    answer = trends(1)
    answer.previous = trends(2, 3)
    rows = read("trends", answer)
    assert [(row[0], row[7]) for row in rows] == [
        ("window", "number"),
        ("current", "1"),
        ("previous", "2"),
        ("previous", "3"),
    ]


def test_retention_a_path_and_a_funnel() -> None:
    retention = RetentionResult(matrix=[[3, 1], [2]], interval="day", periods=[MOMENT, MOMENT], complete=[True, False])
    retention.breakdown = [RetentionBreakdown(kind="missing", matrix=[[1, 0], [0]])]
    rows = read("retention", retention)[1:]
    assert [(row[0], row[4], row[5], row[6]) for row in rows] == [
        *[("all", "0", "3", "true"), ("all", "1", "1", "false"), ("all", "0", "2", "false")],
        *[("missing", "0", "1", "true"), ("missing", "1", "0", "false"), ("missing", "0", "0", "false")],
    ]
    leaf = PathNode(event="@pay", count=1, drop_off=1, continued=0, other=0, children=[])
    node = PathNode(event="cart", count=2, drop_off=0, continued=0, other=1, children=[leaf])
    path = PathResult(root=["a", "b"], count=3, drop_off=1, continued=0, other=0, children=[node])
    assert read("path", path)[1:] == [
        ["[]", '["a","b"]', "3", "1", "0", "0"],
        ['["cart"]', "cart", "2", "0", "0", "1"],
        ['["cart","@pay"]', "'@pay", "1", "1", "0", "0"],
    ]
    step = FunnelStepResult(
        people=4,
        drop_off=3,
        conversion_from_start=0.25,
        conversion_from_before=None,
        median_seconds=1.5,
        p90_seconds=None,
        event="a",
    )
    assert read("funnel", FunnelResult(order="any", steps=[step]))[1:] == [
        ["all", "", "1", "a", "4", "3", "0.25", "", "1.5", ""]
    ]


def test_events_and_people() -> None:
    event = StoredEvent(
        event_id="e",
        event="a,b",
        distinct_id="-1",
        person_id='u"1',
        timestamp=MOMENT,
        received_at=MOMENT,
        properties=Raw(b'{"a":"\\n"}'),
        idempotency_key=None,
    )
    time = "2026-03-01T12:00:00Z"
    assert read("events", EventsResult(events=[event]))[1:] == [
        ["e", "a,b", "'-1", 'u"1', time, time, '{"a":"\\n"}', ""]
    ]
    people = PeopleResult(count=1, people=[ListedPerson(person_id="u\n1", traits={"age": Raw(b"-3")})])
    assert read("people", people)[1:] == [["person", "u\n1", '{"age":-3}']]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1", "'=1"),
        ("\0\0=1", "'\0\0=1"),
        ("＝1", "'＝1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
        ("a\0=1", "a\0=1"),
        (-1, "-1"),
        ("-1", "'-1"),
        ([-1], "[-1]"),
    ],
)
def test_no_text_is_a_formula(value: Any, cell: str) -> None:
    answer = trends(1)
    answer.series[0].lines[0].value = Raw(json.dumps(value).encode())
    assert read("trends", answer)[1][4] == cell


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/csv", True),
        ("TEXT/CSV; charset=utf-8", True),
        ("application/json, text/csv;q=0.5", False),
        ("application/json;q=0.5,text/csv", True),
        ("text/csv;q=0", False),
        ("text/csv;q=x", False),
        ("text/csv;q=0.5, */*", False),
        ("text/csv;q=0.5, application/*;q=0.6, */*;q=0.1", False),
        ("text/csv, */*;q=0.8", True),
        ("text/csv, */*", True),
        ("text/csv;q=0.5, application/json;q=0.4, */*", True),
        ("*/*", False),
        ("", False),
        ("text/*", False),
    ],
)
def test_what_a_client_accepts(accept: str, wanted: bool) -> None:
    assert wants_csv(accept) is wanted
