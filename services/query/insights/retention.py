"""The retention query: who began in a time bucket, and in which later ones they came back."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Interval
from services.contract.api.people import CellLine
from services.contract.api.retention import RetentionBreakdown, RetentionQuery, RetentionResult
from services.query.execution.executor import QueryExecutor
from services.query.request.breakdown import Breakdown, parse_breakdown
from services.query.request.event_filter import EventFilter, listed_names, parse_names
from services.query.request.filters import parse_filter_of
from services.query.request.segment import Segment, parse_segment
from services.query.request.time_buckets import bucket_starts, bucket_window, complete_buckets, local_time
from services.query.request.time_window import EARLIEST_US, TimeWindow, window_of
from services.query.sql.breakdown import by_value, label_sql, line_of, placed_sql, value_sql, value_text
from services.query.sql.event_filter import event_filter_columns
from services.query.sql.events import EVENTS_ONCE, EVENTS_WITH_DUPLICATES, IN_WINDOW, in_window, window_parameters
from services.query.sql.moments import MOMENT
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.segment import segment_sql
from services.runtime.clock import utc_now

# Numbers in an answer: about 10 MB.
MAX_CELLS = 2_000_000
# Up to so many time buckets, a person's are the bits of one number, which is half the work of a set.
_BITS = 64

_BORN_IN_TIME = "e.timestamp < fromUnixTimestamp64Micro({born_until_us:Int64}, 'UTC')"
_BACK_IN_TIME = (
    "e.timestamp >= fromUnixTimestamp64Micro({back_since_us:Int64}, 'UTC') "
    "AND e.timestamp < fromUnixTimestamp64Micro({back_until_us:Int64}, 'UTC')"
)

Matrix = list[list[int]]


class RetentionSpec(Struct, frozen=True):
    """`starts`: where the time buckets of the time window begin. `first_time`: without those born before the window."""

    born: EventFilter
    returned: EventFilter
    window: TimeWindow
    interval: Interval
    starts: list[int]
    segment: Segment = Segment()
    on_or_after: bool = False
    sundays: bool = False
    first_time: bool = False
    min_occurrences: int = 1
    breakdown: Breakdown | None = None


def parse_retention(query: RetentionQuery, project_id: str) -> RetentionSpec:
    born_names = parse_names(query.born_event, "born_event")
    return_names = parse_names(query.return_event, "return_event")
    born = EventFilter(born_names, parse_filter_of(query.born_filter, "born_filter"))
    returned = EventFilter(return_names, parse_filter_of(query.return_filter, "return_filter"))
    window = window_of(query)
    segment = parse_segment(query)
    interval, sundays = query.interval or "day", query.week_start == "sunday"
    spec = RetentionSpec(
        born=born,
        returned=returned,
        window=window,
        interval=interval,
        starts=bucket_starts(window, interval, sundays=sundays),
        segment=segment,
        sundays=sundays,
        on_or_after=query.mode == "on_or_after",
        first_time=bool(query.first_time),
        min_occurrences=query.min_occurrences or 1,
        breakdown=parse_breakdown(query.breakdown, query.top),
    )
    check_retention(spec)
    return spec


def check_retention(spec: RetentionSpec) -> None:
    """Raises ApiError when the answer would hold too many numbers."""
    buckets, lines = len(spec.starts), spec.breakdown.top + 2 if spec.breakdown else 1
    if buckets * (buckets + 1) // 2 * lines > MAX_CELLS:
        raise ApiError(
            ErrorCode.QUERY_TOO_EXPENSIVE,
            f"{buckets} time buckets and {lines} lines make more than {MAX_CELLS} numbers. "
            "Ask for a smaller `top`, a longer `interval` or a narrower window.",
            field="top",
        )


async def run_retention(
    store: QueryExecutor, project_id: str, spec: RetentionSpec, promoted: Promoted
) -> RetentionResult:
    rows = await store.rows(*retention_sql(project_id, spec, promoted))
    # Everybody is in one line of a breakdown only, so lines add up.
    result = RetentionResult(
        matrix=_matrix((row[1:] for row in rows), spec),
        interval=spec.interval,
        periods=[local_time(start, spec.window.zone) for start in spec.starts],
        complete=complete_buckets(spec.starts, spec.window.zone, spec.interval, utc_now(), sundays=spec.sundays),
    )
    if spec.breakdown is not None:
        by_label: dict[str, list[Sequence[Any]]] = {}
        for label, *counts in rows:
            by_label.setdefault(label, []).append(counts)
        result.breakdown = [
            RetentionBreakdown(kind=line.kind, value=line.value, matrix=_matrix(of_line, spec))
            for line, of_line in ((line_of(label), of_line) for label, of_line in by_label.items())
        ]
    return result


def retention_sql(project_id: str, spec: RetentionSpec, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """Rows (label, cohort, bucket, people). Cohort and bucket are places (from 0) of time buckets; cohort = bucket is
    the cohort's size.

    Labels come in the order of their places, see placed_sql. In the mode on_or_after only the last bucket counts in
    which somebody came back.
    """
    groups, returned, parameters = _groups(project_id, spec, promoted)
    later = f"arrayFilter(p -> p > cohort, {returned})"
    if spec.on_or_after:
        later = f"arraySlice(arrayReverseSort({later}), 1, 1)"
    counted = (
        f"SELECT value, cohort, arrayJoin(arrayConcat([cohort], {later})) AS bucket, sum(number) AS people, "
        f"if(cohort = bucket, people, 0) AS weight FROM ({groups}) GROUP BY value, cohort, bucket"
    )
    if spec.breakdown is None:
        return f"SELECT '', cohort, bucket, people FROM ({counted})", parameters
    return (
        "SELECT label, cohort, bucket, sum(people) "
        f"FROM ({placed_sql(spec.breakdown, counted)}) GROUP BY place, label, cohort, bucket ORDER BY place"
    ), parameters


class _Part(NamedTuple):
    """What of the time window one number is about, in microseconds: born events before the first, return events between
    the others."""

    born_until_us: int
    back_since_us: int
    back_until_us: int


class _Units(NamedTuple):
    """Rows (unit, cohort, came, ...) as SQL, with `value_text` where there is a breakdown, those for whom `having` holds;
    `returned`: the time buckets in `came`."""

    rows: str
    having: str
    returned: str
    parameters: dict[str, Any]


def retention_people_sql(
    project_id: str, spec: RetentionSpec, cohort: int, offset: int, line: CellLine | None, promoted: Promoted
) -> tuple[str, dict[str, Any]]:
    """One column, `unit`: the people of `matrix[cohort][offset]`, each once."""
    is_ranked = line is not None and line.kind == "other"
    # A line is ranked by the cohorts of all time buckets.
    part = None if is_ranked else _part_of(spec, cohort, offset)
    units = _units(project_id, spec, promoted, part)
    parameters = {**units.parameters, "row": cohort, "later": cohort + offset}
    who = "cohort = {row:UInt64}"
    if offset:
        comparison = ">=" if spec.on_or_after else "="
        who += f" AND arrayExists(p -> p {comparison} {{later:UInt64}}, {units.returned})"
    if spec.breakdown is None or line is None:
        return f"SELECT unit FROM ({units.rows}) WHERE {units.having} AND {who}", parameters
    named = Parameters("line", promoted)
    label = label_sql(spec.breakdown, line.kind, line.value, named)
    if is_ranked:
        by_text = (
            f"SELECT value_text, count() AS weight, groupArrayIf(unit, {who}) AS units "
            f"FROM ({units.rows}) WHERE {units.having} GROUP BY value_text"
        )
        placed = placed_sql(spec.breakdown, by_value(spec.breakdown, by_text))
        sql = f"SELECT arrayJoin(units) AS unit FROM ({placed}) WHERE label = {label}"
    else:
        value = value_sql(spec.breakdown, "value_text")
        sql = f"SELECT unit FROM ({units.rows}) WHERE {units.having} AND {who} AND {value} = {label}"
    return sql, {**parameters, **named.values}


def _part_of(spec: RetentionSpec, cohort: int, offset: int) -> _Part:
    """Whoever is born later is in no earlier cohort, and of the returns one time bucket counts, or those from it on."""
    born_until_us = bucket_window(spec.window, spec.starts, cohort).until_us
    if not offset:
        return _Part(born_until_us, 0, 0)
    back = bucket_window(spec.window, spec.starts, cohort + offset)
    return _Part(born_until_us, back.since_us, spec.window.until_us if spec.on_or_after else back.until_us)


def _groups(project_id: str, spec: RetentionSpec, promoted: Promoted) -> tuple[str, str, dict[str, Any]]:
    """One row per distinct (value, cohort, came), with the number of people. And the SQL of the buckets in `came`."""
    units = _units(project_id, spec, promoted)
    people = f"FROM ({units.rows}) WHERE {units.having}"
    if spec.breakdown is None:
        groups = f"SELECT '' AS value, cohort, came, count() AS number {people} GROUP BY value, cohort, came"
    else:
        by_text = f"SELECT value_text, cohort, came, count() AS number {people} GROUP BY value_text, cohort, came"
        groups = by_value(spec.breakdown, by_text)
    return groups, units.returned, units.parameters


def _units(project_id: str, spec: RetentionSpec, promoted: Promoted, part: _Part | None = None) -> _Units:
    """`part`: of what one number is about, nothing else is read."""
    conditions = [*spec.born.conditions, *spec.returned.conditions]
    segment, named = (
        segment_sql(spec.segment, promoted, conditions, breakdown=spec.breakdown),
        Parameters("own", promoted),
    )
    table, came, returned = _returns(spec)
    is_born, is_return = event_filter_columns([spec.born, spec.returned], named)
    if part is not None:
        is_born, is_return = f"({is_born}) AND {_BORN_IN_TIME}", f"({is_return}) AND {_BACK_IN_TIME}"
    given = (
        f"{is_born} AS is_born, {is_return} AS is_return, "
        "transform(roundDown(toUnixTimestamp64Micro(e.timestamp), {starts:Array(Int64)}), {starts:Array(Int64)}, "
        "arrayMap(i -> toUInt16(i - 1), arrayEnumerate({starts:Array(Int64)})), toUInt16(0)) AS bucket"
    )
    columns = ["bucket", "is_born", "is_return"]
    aggregates = {"cohort": "minIf(bucket, is_born)", "births": "countIf(is_born)", "came": came}
    if spec.breakdown is not None:
        # Of other events no value is looked at, and shards would send it.
        given += f", {value_text(spec.breakdown, named, 'is_born')} AS text, {MOMENT} AS moment"
        columns += ["text", "moment"]
        aggregates["value_text"] = "argMinIf(text, moment, is_born)"
    rows, when, having = IN_WINDOW, "", "births > 0"
    if spec.first_time:
        # The born events of all time; whoever has one before the window is left out, so no other row of it matters.
        before = "e.timestamp < fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        rows, when = in_window("{ever:Int64}", "{until:Int64}"), f" AND (NOT {before} OR is_born)"
        given += f", {before} AS is_before"
        columns.append("is_before")
        aggregates["earlier"] = "countIf(is_born AND is_before)"
        having += " AND earlier = 0"
    when += _of_names(spec, named)
    if part is not None:
        # In words of the column alone, so that days are passed over.
        when += f" AND ({_BORN_IN_TIME} OR {_BACK_IN_TIME})"
    if part is not None and not conditions:
        when += " AND (is_born OR is_return)"
    units = segment.units_of_rows(given, columns, aggregates, table, rows, when)
    parameters = {
        **window_parameters(project_id, spec.window),
        **segment.parameters,
        **named.values,
        "starts": spec.starts,
        "ever": EARLIEST_US,
        **({} if part is None else part._asdict()),
    }
    return _Units(units, having, returned, parameters)


def _of_names(spec: RetentionSpec, named: Parameters) -> str:
    """Of which names events are read, behind an AND; nothing where they may be of any."""
    born, returned = spec.born.event, spec.returned.event
    if born is None or returned is None:
        return ""
    if isinstance(born, str) and isinstance(returned, str):
        named.values |= {"born": born, "return": returned}
        return " AND e.event IN ({born:String}, {return:String})"
    names = list(dict.fromkeys(listed_names(born) + listed_names(returned)))
    return f" AND e.event IN {named.add(names, 'Array(String)')}"


def _returns(spec: RetentionSpec) -> tuple[str, str, str]:
    """The table to read, the aggregate of the time buckets in which a person came back, and the SQL of its buckets.

    A set of buckets does not change with events that are stored twice; numbers of events do.
    """
    if spec.min_occurrences > 1:
        enough = f"arrayFilter((p, n) -> n >= {spec.min_occurrences:d}, came.1, came.2)"
        return EVENTS_ONCE, "sumMapIf([bucket], [toUInt64(1)], is_return)", enough
    if len(spec.starts) <= _BITS:
        bits = "groupBitOrIf(bitShiftLeft(toUInt64(1), bucket), is_return)"
        return EVENTS_WITH_DUPLICATES, bits, "bitPositionsToArray(came)"
    return EVENTS_WITH_DUPLICATES, "arraySort(groupUniqArrayIf(bucket, is_return))", "came"


def _matrix(counts: Iterable[Sequence[Any]], spec: RetentionSpec) -> Matrix:
    """(cohort, bucket, people) each -> a row for each bucket, with a number for every bucket from it to the last."""
    buckets = len(spec.starts)
    matrix = [[0] * (buckets - i) for i in range(buckets)]
    for cohort, bucket, people in counts:
        matrix[cohort][bucket - cohort] += people
    if spec.on_or_after:
        for row in matrix:
            for j in range(len(row) - 2, 0, -1):
                row[j] += row[j + 1]
    return matrix
