"""What is asked: each query, the bars it is held to, and the other ways to answer it. Pure."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from tests.bench.query import comparable, proposals
from tests.bench.query.history import CONVERSION, FUNNEL, PROMOTED, SINCE, UNTIL
from tests.bench.query.same_answer import same_funnel, same_paths

BAR_EVENTS = 10_000_000
BY_PROPERTY, BY_GROUP = "trends by day, breakdown", "trends by group"

_CONVERSION_S = int(CONVERSION.total_seconds())
_OVER_100 = {"price": {"gt": 100}}
_WINDOW = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}


class MeasuredQuery(Struct, frozen=True, kw_only=True):
    """`path` and `body` ask the service. `proposal`: SQL that would answer it faster, or before the service can.

    `bar_ms` is for 10 million events. `method` names the comparable system's way, if one is timed, `times_as_fast` is the bar
    of its time to ours. `same` holds its rows to the service's answer. `besides`: ways of another meaning, by name, for no
    bar.
    """

    name: str
    bar_ms: float
    path: str
    body: dict[str, Any]
    proposal: Callable[[], str] | None = None
    method: str = ""
    sql: Callable[[], str] | None = None
    duckdb: str = "not asked"
    same: Callable[[dict[str, Any], Sequence[Sequence[Any]]], None] | None = None
    besides: dict[str, Callable[[], str]] = {}
    times_as_fast: float | None = None


QUERIES = (
    MeasuredQuery(
        name="events page",
        bar_ms=50,
        path="/query/events",
        body={**_WINDOW, "order": "desc", "limit": 1000},
        method="FINAL, sorted by time",
        sql=comparable.latest_events,
        duckdb="events",
    ),
    MeasuredQuery(
        name="retention 31x31 days",
        bar_ms=200,
        path="/query/retention",
        body={**_WINDOW, "born_event": "app_opened", "return_event": "page_viewed"},
        method="self-join",
        sql=comparable.self_join_retention,
        duckdb="retention",
        times_as_fast=2,
    ),
    MeasuredQuery(
        name="path depth 5",
        bar_ms=400,
        path="/query/path",
        body={**_WINDOW, "start_event": "app_opened", "max_depth": 5},
        method="arrays of tuples",
        sql=comparable.array_paths,
        duckdb="path",
        same=same_paths,
        times_as_fast=3,
    ),
    MeasuredQuery(
        name="funnel of 5 steps",
        bar_ms=300,
        path="/query/funnel",
        body={**_WINDOW, "steps": [{"event": name} for name in FUNNEL], "conversion_window_seconds": _CONVERSION_S},
        proposal=proposals.ordered_funnel,
        method="arrays of tuples, windowFunnel",
        sql=comparable.array_funnel,
        duckdb="funnel",
        same=same_funnel,
        besides={"windowFunnel a person: steps of a second alike, none after the window": comparable.window_funnel},
        times_as_fast=2,
    ),
    MeasuredQuery(
        name=BY_PROPERTY,
        bar_ms=150,
        path="/query/trends",
        body={**_WINDOW, "series": [{"event": "page_viewed"}], "interval": "day", "breakdown": "country"},
        proposal=proposals.daily_counts_by_country,
        method="JSONExtract a row",
        sql=comparable.json_trends,
        duckdb="trends",
    ),
    MeasuredQuery(
        name=BY_GROUP,
        bar_ms=300,
        path="/query/trends",
        body={**_WINDOW, "series": [{"event": "page_viewed"}], "interval": "day", "breakdown": "group.company"},
        method="JSONExtract a row (of a property)",
        sql=comparable.json_trends,
    ),
    MeasuredQuery(
        name="trends, promoted property",
        bar_ms=150,
        path="/query/trends",
        body={**_WINDOW, "series": [{"event": "page_viewed"}], "interval": "day", "breakdown": PROMOTED},
        method="JSONExtract a row",
        sql=partial(comparable.json_trends, PROMOTED),
        duckdb="trends of plans",
    ),
    # What properties in the text add to queries of each kind.
    MeasuredQuery(
        name="trends, property of an object",
        bar_ms=400,
        path="/query/trends",
        body={**_WINDOW, "series": [{"event": "page_viewed"}], "interval": "day", "breakdown": "device.os"},
    ),
    MeasuredQuery(
        name="trends, maxima of a property",
        bar_ms=300,
        path="/query/trends",
        body={
            **_WINDOW,
            "series": [{"event": "page_viewed", "measure": "max", "property": "price"}],
            "interval": "day",
        },
    ),
    MeasuredQuery(
        name="trends, count of a month",
        bar_ms=50,
        path="/query/trends",
        body={**_WINDOW, "series": [{"event": "page_viewed"}], "interval": "day"},
    ),
    MeasuredQuery(
        name="retention by property",
        bar_ms=900,
        path="/query/retention",
        body={**_WINDOW, "born_event": "app_opened", "return_event": "page_viewed", "breakdown": "country"},
    ),
    MeasuredQuery(
        name="retention with a condition",
        bar_ms=900,
        path="/query/retention",
        body={**_WINDOW, "born_event": "app_opened", "return_event": "page_viewed", "born_filter": _OVER_100},
    ),
    MeasuredQuery(
        name="funnel with a condition",
        bar_ms=1500,
        path="/query/funnel",
        body={
            **_WINDOW,
            "steps": [{"event": name, "filter": _OVER_100 if name == FUNNEL[2] else {}} for name in FUNNEL],
            "conversion_window_seconds": _CONVERSION_S,
        },
    ),
    MeasuredQuery(
        name="path with a condition",
        bar_ms=3000,
        path="/query/path",
        body={**_WINDOW, "start_event": "app_opened", "max_depth": 5, "filter": {"device.os": "mac"}},
    ),
)


def bar_ms(query: MeasuredQuery, events: int) -> float:
    """Ten times the events may take ten times as long; fewer than 10 million have the same bar as 10 million."""
    return query.bar_ms * max(1.0, events / BAR_EVENTS)
