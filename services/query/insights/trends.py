"""The trends query: one number per time bucket, for each series and each value of a breakdown."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from msgspec import Struct

from services.contract.api.fields import Interval
from services.contract.api.trends import Measure, TrendLine, TrendSeriesResult, TrendsQuery, TrendsResult
from services.contract.api.validation import invalid_field, refuse_nul
from services.query.execution.executor import QueryExecutor
from services.query.request.breakdown import Breakdown, parse_breakdown
from services.query.request.event_filter import EventFilter, parse_event_filters
from services.query.request.filters import MAX_KEY_LEVELS
from services.query.request.segment import Segment, parse_segment
from services.query.request.time_buckets import bucket_starts, local_time
from services.query.request.time_window import TimeWindow, parse_time_window
from services.query.sql.breakdown import line_of, placed_sql, value_sql
from services.query.sql.event_filter import event_filter_sql
from services.query.sql.events import EVENTS_ONCE, EVENTS_WITH_DUPLICATES, IN_WINDOW, window_parameters
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.properties import event_property
from services.query.sql.segment import segment_sql

# Measures of a numeric property.
_OF_PROPERTY = ("sum", "avg", "min", "max", "percentile")
# A row that is stored twice changes neither sets of people nor extremes.
_DUPLICATES_DO_NO_HARM = ("people", "min", "max")
# What a time bucket without events has; elsewhere there is nothing to measure.
_OF_PEOPLE = ("people", "per_person")
_NONE_IS_ZERO = ("count", "people", "sum")


class Series(Struct, frozen=True):
    """`key`: the property, of measures that need one. `percentile` from 0 to 1."""

    event_filter: EventFilter
    measure: Measure
    key: str | None
    percentile: float


class TrendsSpec(Struct, frozen=True):
    """`starts`: where the time buckets of the time window begin."""

    series: list[Series]
    window: TimeWindow
    interval: Interval
    starts: list[int]
    breakdown: Breakdown | None
    segment: Segment


def series_of(event_filter: EventFilter, measure: Measure, key: str | None, percentile: float | None, i: int) -> Series:
    """Raises ApiError for a measure without its property, and a property or percentile without its measure."""
    place = f"series[{i}]"
    if (key is not None) != (measure in _OF_PROPERTY):
        belongs = "is needed by" if key is None else "is not taken by"
        raise invalid_field(f"{place}.property", f"{belongs} the measure `{measure}`")
    if percentile is not None and measure != "percentile":
        raise invalid_field(f"{place}.percentile", f"is not taken by the measure `{measure}`")
    refuse_nul(key, f"{place}.property")
    if key is not None and key.count(".") >= MAX_KEY_LEVELS:
        raise invalid_field(f"{place}.property", f"goes deeper than {MAX_KEY_LEVELS} levels")
    return Series(event_filter, measure, key, (50 if percentile is None else percentile) / 100)


def parse_trends(query: TrendsQuery, project_id: str) -> TrendsSpec:
    event_filters = parse_event_filters([(series.event, series.filter) for series in query.series], "series")
    window, interval = parse_time_window(query.since, query.until, query.timezone), query.interval or "day"
    return TrendsSpec(
        series=[
            series_of(event_filter, sent.measure or "count", sent.property, sent.percentile, i)
            for i, (event_filter, sent) in enumerate(zip(event_filters, query.series, strict=True))
        ],
        window=window,
        interval=interval,
        starts=bucket_starts(window, interval, sundays=query.week_start == "sunday"),
        breakdown=parse_breakdown(query.breakdown, query.top),
        segment=parse_segment(query),
    )


async def run_trends(store: QueryExecutor, project_id: str, spec: TrendsSpec, promoted: Promoted) -> TrendsResult:
    """One series after the other: each has the limits of a query for itself."""
    results = []
    for series in spec.series:
        rows = await store.rows(*trend_sql(project_id, spec, series, promoted))
        lines = _lines(rows, spec, series.measure)
        results.append(TrendSeriesResult(event=series.event_filter.event, measure=series.measure, lines=lines))
    return TrendsResult(
        interval=spec.interval,
        periods=[local_time(start, spec.window.zone) for start in spec.starts],
        series=results,
    )


def trend_sql(project_id: str, spec: TrendsSpec, series: Series, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """Rows (place, label, period, number), in order of place; see placed_sql."""
    segment = segment_sql(spec.segment, promoted, series.event_filter.conditions, breakdown=spec.breakdown)
    named = Parameters("series", promoted)
    selected = event_filter_sql(series.event_filter, named)
    table = EVENTS_WITH_DUPLICATES if series.measure in _DUPLICATES_DO_NO_HARM else EVENTS_ONCE
    if series.measure in _OF_PEOPLE or spec.segment.aggregate_by is not None:
        joins, person = segment.joins, segment.who
    else:
        joins, person = segment.filter_joins, "0"
    columns, numeric = f"{person} AS person", ""
    if series.key is not None:
        columns += f", {event_property(series.key, named)} AS text, JSONExtractFloat(text) AS number"
        # The characters before ':' that JSON begins a number with.
        numeric = "text >= '-' AND text < ':'"
    state, merged = _measure(series, numeric)
    # FINAL takes duplicates away before they are counted; where it is not needed, a line's weight may count them twice.
    value = "''" if spec.breakdown is None else value_sql(spec.breakdown, named)
    events = (
        f"SELECT {columns}, {value} AS value, e.event_id AS event_id, "
        "roundDown(toUnixTimestamp64Micro(e.timestamp), {starts:Array(Int64)}) AS period "
        f"FROM {table} {joins} WHERE {IN_WINDOW}{segment.where} AND {selected}"
    )
    weight = "uniqExact(event_id)" if spec.breakdown is not None and table is EVENTS_WITH_DUPLICATES else "count()"
    by_value = f"SELECT period, value, {weight} AS weight, {state} AS state FROM ({events}) GROUP BY period, value"
    if spec.breakdown is None:
        sql = f"SELECT 1, '', period, {merged} FROM ({by_value}) GROUP BY period"
    else:
        placed = placed_sql(spec.breakdown, by_value)
        sql = f"SELECT place, label, period, {merged} FROM ({placed}) GROUP BY place, label, period ORDER BY place"
    parameters = {**window_parameters(project_id, spec.window), **segment.parameters, **named.values}
    return sql, {**parameters, "starts": spec.starts}


def _measure(series: Series, numeric: str) -> tuple[str, str]:
    """An aggregate of events for each value, and the number that several values' aggregates make together."""
    match series.measure:
        case "count":
            return "count()", "sum(state)"
        case "people":
            return "uniqExactState(person)", "uniqExactMerge(state)"
        case "per_person":
            state = "(count(), uniqExactState(person))"
            return state, "sum(state.1) / uniqExactMerge(state.2)"
        case "percentile":
            level = f"({series.percentile!r})"
            state = f"quantileExactInclusiveOrNullIfState{level}(number, {numeric})"
            return state, f"quantileExactInclusiveOrNullIfMerge{level}(state)"
        case measure:
            # OrNull: of no number there is none (a sum is 0).
            suffix = "If" if measure == "sum" else "OrNullIf"
            return f"{measure}{suffix}State(number, {numeric})", f"{measure}{suffix}Merge(state)"


def _lines(rows: Iterable[Sequence[Any]], spec: TrendsSpec, measure: Measure) -> list[TrendLine]:
    place_of = {start: i for i, start in enumerate(spec.starts)}
    nothing = 0.0 if measure in _NONE_IS_ZERO else None
    lines: dict[str, TrendLine] = {}
    if spec.breakdown is None:
        lines[""] = TrendLine(kind="all", values=[nothing] * len(place_of))
    for _, label, period, number in rows:
        if label not in lines:
            line = line_of(label)
            lines[label] = TrendLine(kind=line.kind, value=line.value, values=[nothing] * len(place_of))
        # Beyond the largest double a sum is no number.
        lines[label].values[place_of[period]] = number if number is not None and isfinite(number) else None
    return list(lines.values())
