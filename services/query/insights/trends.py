"""The trends query: one number per time bucket, for each series and each value of a breakdown."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import floor, isfinite, log10, ulp
from typing import Any

from msgspec import Struct

from services.contract.api.fields import Interval
from services.contract.api.people import CellLine
from services.contract.api.trends import Measure, TrendLine, TrendSeriesResult, TrendsQuery, TrendsResult
from services.contract.api.validation import invalid_field, refuse_nul
from services.query.execution.executor import QueryExecutor
from services.query.request.breakdown import Breakdown, parse_breakdown
from services.query.request.event_filter import EventFilter, parse_event_filters, shown_names
from services.query.request.filters import FIELDS, MAX_KEY_LEVELS, Condition, property_hint
from services.query.request.segment import Segment, parse_segment
from services.query.request.time_buckets import bucket_starts, bucket_window, complete_buckets, local_time
from services.query.request.time_window import TimeWindow, window_of
from services.query.sql.breakdown import by_value, label_sql, line_of, placed_sql, value_sql, value_text
from services.query.sql.event_filter import event_filter_sql
from services.query.sql.events import EVENTS_ONCE, EVENTS_WITH_DUPLICATES, IN_WINDOW, ROW_ID, window_parameters
from services.query.sql.groups import joined
from services.query.sql.json_text import INEXACT_FROM
from services.query.sql.measures import EXTREMES, SUMS, MeasureSql, measure_sql, measured_value
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.segment import segment_sql
from services.runtime.clickhouse import LimitExceededError
from services.runtime.clock import utc_now

# Measures of a numeric property.
_OF_PROPERTY = ("sum", "avg", "min", "max", "percentile")
# A row that is stored twice changes neither sets of people nor extremes.
_DUPLICATES_DO_NO_HARM = ("people", "min", "max")
_OF_PEOPLE = ("people", "per_person")
_COUNT_EVENTS = ("count", "per_person")
# What a time bucket without events has; elsewhere there is nothing to measure.
_OF_NOTHING: dict[Measure, float | int] = {"count": 0, "people": 0, "sum": 0.0}
_SUM_DIGITS = 15
_SUM_ERRORS = 2  # units in the last place by which a compensated sum of decimals may miss their true one


class Series(Struct, frozen=True):
    """`key`: the property or trait, of measures that need one. `percentile` from 0 to 1."""

    event_filter: EventFilter
    measure: Measure
    key: str | None
    percentile: float

    @property
    def trait(self) -> Condition | None:
        """That everybody counts who has the trait which is measured; None for a property."""
        condition = Condition(self.key or "", "exists", True)
        return condition if condition.is_trait else None


class TrendsSpec(Struct, frozen=True):
    """`starts`: where the time buckets of the time window begin."""

    series: list[Series]
    window: TimeWindow
    interval: Interval
    starts: list[int]
    sundays: bool
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
    if key is not None and not _is_measurable(key):
        takes = "a property of events, `person.<trait>` or `group.<type>.<trait>`"
        raise invalid_field(f"{place}.property", f"takes {takes}; `{key[:100]}` is none. {property_hint(key)}")
    return Series(event_filter, measure, key, (50 if percentile is None else percentile) / 100)


def _is_measurable(key: str) -> bool:
    if key in FIELDS or key == "person.":
        return False
    return not key.startswith("group.") or (all(key.split(".", 2)) and key.count(".") > 1)


def parse_trends(query: TrendsQuery, project_id: str) -> TrendsSpec:
    event_filters = parse_event_filters([(series.event, series.filter) for series in query.series], "series")
    window, interval = window_of(query), query.interval or "day"
    sundays = query.week_start == "sunday"
    return TrendsSpec(
        series=[
            series_of(event_filter, sent.measure or "count", sent.property, sent.percentile, i)
            for i, (event_filter, sent) in enumerate(zip(event_filters, query.series, strict=True))
        ],
        window=window,
        interval=interval,
        starts=bucket_starts(window, interval, sundays=sundays),
        sundays=sundays,
        breakdown=parse_breakdown(query.breakdown, query.top),
        segment=parse_segment(query),
    )


async def run_trends(store: QueryExecutor, project_id: str, spec: TrendsSpec, promoted: Promoted) -> TrendsResult:
    """One series after the other: each has the limits of a query for itself."""
    results = []
    for series in spec.series:
        lines = _lines(await _rows(store, project_id, spec, series, promoted), spec, series.measure)
        results.append(
            TrendSeriesResult(event=shown_names(series.event_filter.event), measure=series.measure, lines=lines)
        )
    return TrendsResult(
        interval=spec.interval,
        periods=[local_time(start, spec.window.zone) for start in spec.starts],
        complete=complete_buckets(spec.starts, spec.window.zone, spec.interval, utc_now(), sundays=spec.sundays),
        series=results,
    )


async def _rows(
    store: QueryExecutor, project_id: str, spec: TrendsSpec, series: Series, promoted: Promoted
) -> list[Sequence[Any]]:
    if store.is_fresh and series.measure in _COUNT_EVENTS:
        try:
            return await store.rows(*trend_sql(project_id, spec, series, promoted, distinct=True))
        except LimitExceededError as error:
            # FINAL holds nothing of what it has read.
            if not error.is_memory:
                raise
    return await store.rows(*trend_sql(project_id, spec, series, promoted))


def trend_sql(
    project_id: str, spec: TrendsSpec, series: Series, promoted: Promoted, *, distinct: bool = False
) -> tuple[str, dict[str, Any]]:
    """Rows (place, label, period, number), in order of place; see placed_sql. `distinct`: duplicates are not taken away but
    counted once, of measures that count events."""
    events, parameters = _events(project_id, spec, series, promoted, distinct=distinct)
    measure = _measure_sql(series, distinct=distinct)
    if spec.breakdown is None:
        by_period = f"SELECT period, {measure.state} AS state FROM ({events}) GROUP BY period"
        sql = f"SELECT 1, '', period, {measure.merged} FROM ({by_period}) GROUP BY period"
    else:
        placed = _placed(spec.breakdown, measure, events)
        sql = f"SELECT place, label, period, {measure.merged} FROM ({placed}) GROUP BY place, label, period ORDER BY place"
    return sql, parameters


def trend_people_sql(
    project_id: str, spec: TrendsSpec, series: Series, bucket: int | None, line: CellLine | None, promoted: Promoted
) -> tuple[str, dict[str, Any]]:
    """One column, `unit`: who did what a number counts, each once. `bucket`: None for the whole window."""
    if spec.breakdown is None or line is None:
        return _people_of_bucket(project_id, spec, series, bucket, promoted)
    named = Parameters("line", promoted)
    is_line = f"= {label_sql(spec.breakdown, line.kind, line.value, named)}"
    if line.kind != "other":
        found, parameters = _people_of_bucket(project_id, spec, series, bucket, promoted)
        return f"{found} WHERE {value_sql(spec.breakdown, 'value_text')} {is_line}", parameters | named.values
    events, parameters = _events(project_id, spec, series, promoted, with_people=True, ranked=True)
    placed = _placed(spec.breakdown, _measure_sql(series), events, ", groupUniqArray(person) AS units")
    where = f"label {is_line}"
    if bucket is not None:
        parameters["bucket"] = spec.starts[bucket]
        where += " AND period = {bucket:Int64}"
    return f"SELECT DISTINCT arrayJoin(units) AS unit FROM ({placed}) WHERE {where}", parameters | named.values


def _measure_sql(series: Series, *, distinct: bool = False) -> MeasureSql:
    return measure_sql(series.measure, series.percentile, "uniqExact(row_id)" if distinct else "count()")


def _placed(breakdown: Breakdown, measure: MeasureSql, events: str, columns: str = "") -> str:
    """Rows (period, value, state, place, label): see placed_sql. `columns`: further aggregates."""
    by_text = (
        f"SELECT period, value_text, {measure.state} AS state{columns} FROM ({events}) GROUP BY period, value_text"
    )
    return placed_sql(breakdown, by_value(breakdown, by_text), measure.total, measure.by)


def _people_of_bucket(
    project_id: str, spec: TrendsSpec, series: Series, bucket: int | None, promoted: Promoted
) -> tuple[str, dict[str, Any]]:
    """One column, `unit`, of rows that have the text of a value too. Of a bucket no other days are read."""
    when, borders = "", {}
    if bucket is not None:
        part = bucket_window(spec.window, spec.starts, bucket)
        when = (
            " AND e.timestamp >= fromUnixTimestamp64Micro({bucket_since:Int64}, 'UTC') "
            "AND e.timestamp < fromUnixTimestamp64Micro({bucket_until:Int64}, 'UTC')"
        )
        borders = {"bucket_since": part.since_us, "bucket_until": part.until_us}
    events, parameters = _events(project_id, spec, series, promoted, with_people=True, when=when)
    return f"SELECT DISTINCT person AS unit FROM ({events})", parameters | borders


def _events(
    project_id: str,
    spec: TrendsSpec,
    series: Series,
    promoted: Promoted,
    *,
    with_people: bool = False,
    ranked: bool = False,
    when: str = "",
    distinct: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Rows (person, value_text, period, what is measured) of a series' events. `with_people`: whatever the measure; then, unless
    `ranked`, nothing is counted, so that duplicates do no harm. `when`: one more condition. `distinct`: with duplicates, and
    `row_id`."""
    trait = series.trait
    needed = [*series.event_filter.conditions, *([] if trait is None else [trait])]
    segment = segment_sql(spec.segment, promoted, needed, breakdown=spec.breakdown)
    named = Parameters("series", promoted)
    selected = event_filter_sql(series.event_filter, named)
    # FINAL takes duplicates away before they are counted.
    harmless = distinct or series.measure in _DUPLICATES_DO_NO_HARM or (with_people and not ranked)
    table = EVENTS_WITH_DUPLICATES if harmless else EVENTS_ONCE
    if with_people or series.measure in _OF_PEOPLE or spec.segment.aggregate_by is not None:
        joins, person = segment.joins, segment.who
    else:
        joins, person = segment.filter_joins, "0"
    measured = measured_value(trait, series.key, series.measure, named)
    value = ""
    if spec.breakdown is not None:
        value = f", {value_text(spec.breakdown, named)} AS value_text"
    row_id = f", {ROW_ID} AS row_id" if distinct else ""
    events = (
        f"SELECT {person} AS person{row_id}{measured.columns}{value}, "
        "roundDown(toUnixTimestamp64Micro(e.timestamp), {starts:Array(Int64)}) AS period "
        f"FROM {joined(table, IN_WINDOW + when, joins + measured.join)}{segment.where} AND {selected}"
    )
    parameters = {**window_parameters(project_id, spec.window), **segment.parameters, **named.values}
    return events, {**parameters, "starts": spec.starts}


def _lines(rows: Iterable[Sequence[Any]], spec: TrendsSpec, measure: Measure) -> list[TrendLine]:
    place_of = {start: i for i, start in enumerate(spec.starts)}
    nothing = _OF_NOTHING.get(measure)
    lines: dict[str, TrendLine] = {}
    if spec.breakdown is None:
        lines[""] = TrendLine(kind="all", values=[nothing] * len(place_of))
    for _, label, period, number in rows:
        if label not in lines:
            line = line_of(label)
            lines[label] = TrendLine(kind=line.kind, value=line.value, values=[nothing] * len(place_of))
        lines[label].values[place_of[period]] = _number(measure, number)
    return list(lines.values())


def _number(measure: Measure, found: Any) -> float | int | None:
    """A number as it is answered, of what the store found; None where there is nothing to measure, or no such double."""
    if measure in EXTREMES:
        return _exact(*found)
    if measure in SUMS:
        fractions, scale, whole, count = found
        return _sum(fractions, scale, whole, 1 if measure == "sum" else count)
    return found if found is not None and isfinite(found) else None


def _exact(number: float | None, integer: int) -> float | int | None:
    """An extreme: as an integer where its double stands for several."""
    if number is None:
        return None
    return integer if integer and float(integer) == number else number + 0.0  # -0.0 is 0.0


def _sum(fractions: float, scale: float, whole: int, by: int) -> float | int | None:
    """The sum of fractions and whole numbers by a count; `scale` is the sum of the fractions' absolute values."""
    if by == 0 or not isfinite(fractions):
        return None
    part = _rounded(fractions, scale)
    if not part.is_integer() or abs(part) >= INEXACT_FROM:
        return _rounded(float(Fraction(part) + whole) / by, (scale + abs(whole)) / by)
    whole += int(part)
    # Integers are divided to the nearest double.
    return whole // by if whole % by == 0 and abs(whole) >= INEXACT_FROM * by else whole / by


def _rounded(number: float, scale: float) -> float:
    """A sum of decimals, without what doubles cannot hold of them: the number of 15 digits, counted from the first digit
    of `scale`, the sum of the absolute values, if it is as near as their errors are."""
    if number.is_integer() or not isfinite(scale):
        return number + 0.0
    short = round(number, _SUM_DIGITS - 1 - floor(log10(scale)))
    return short + 0.0 if abs(short - number) <= _SUM_ERRORS * ulp(scale) else number
