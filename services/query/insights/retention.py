"""The retention question: who began in a period, and in which later periods they came back."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Interval
from services.contract.api.retention import RetentionAnswer, RetentionBreakdown, RetentionQuery
from services.query.execution.executor import QuestionStore
from services.query.request.breakdown import Breakdown, parse_breakdown
from services.query.request.decode import refuse_nul
from services.query.request.segment import Scope, parse_scope
from services.query.request.time_buckets import local_time, period_starts
from services.query.request.time_window import EARLIEST_US, Window, parse_window
from services.query.sql.breakdown import line_of, placed_sql, value_sql
from services.query.sql.events import EVENTS_ONCE, EVENTS_WITH_REPEATS, IN_WINDOW, in_window, window_parameters
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.segment import scope_sql

# Numbers in an answer: about 10 MB.
MAX_CELLS = 2_000_000
# Up to so many periods a person's are the bits of one number, which is half the work of a set.
_BITS = 64

Matrix = list[list[int]]


class RetentionQuestion(Struct, frozen=True):
    """`starts` are the periods of the window. `first_time`: those who did the born event before it are left out."""

    born_event: str
    return_event: str
    window: Window
    interval: Interval
    starts: list[int]
    scope: Scope = Scope()
    on_or_after: bool = False
    first_time: bool = False
    min_occurrences: int = 1
    breakdown: Breakdown | None = None


def parse_retention(query: RetentionQuery, project_id: str) -> RetentionQuestion:
    refuse_nul(query.born_event, "born_event")
    refuse_nul(query.return_event, "return_event")
    window = parse_window(query.since, query.until, query.timezone)
    scope = parse_scope(query)
    interval = query.interval or "day"
    question = RetentionQuestion(
        born_event=query.born_event,
        return_event=query.return_event,
        window=window,
        interval=interval,
        starts=period_starts(window, interval, sundays=query.week_start == "sunday"),
        scope=scope,
        on_or_after=query.mode == "on_or_after",
        first_time=bool(query.first_time),
        min_occurrences=query.min_occurrences or 1,
        breakdown=parse_breakdown(query.breakdown, query.top),
    )
    check_retention(question)
    return question


def check_retention(question: RetentionQuestion) -> None:
    """Raises ApiError when the answer would hold too many numbers."""
    periods, lines = len(question.starts), question.breakdown.top + 2 if question.breakdown else 1
    if periods * (periods + 1) // 2 * lines > MAX_CELLS:
        raise ApiError(
            ErrorCode.QUERY_TOO_EXPENSIVE,
            f"{periods} periods and {lines} lines make more than {MAX_CELLS} numbers. "
            "Ask for a smaller `top`, a longer `interval` or a narrower window.",
            field="top",
        )


async def answer_retention(
    store: QuestionStore, project_id: str, question: RetentionQuestion, promoted: Promoted
) -> RetentionAnswer:
    rows = await store.rows(*retention_sql(project_id, question, promoted))
    # Everybody is in one line of a breakdown only, so lines add up.
    answer = RetentionAnswer(
        matrix=_matrix((row[1:] for row in rows), question),
        interval=question.interval,
        periods=[local_time(start, question.window.zone) for start in question.starts],
    )
    if question.breakdown is not None:
        by_label: dict[str, list[Sequence[Any]]] = {}
        for label, *counts in rows:
            by_label.setdefault(label, []).append(counts)
        answer.breakdown = [
            RetentionBreakdown(kind=line.kind, value=line.value, matrix=_matrix(of_line, question))
            for line, of_line in ((line_of(label), of_line) for label, of_line in by_label.items())
        ]
    return answer


def retention_sql(project_id: str, question: RetentionQuestion, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """Rows (label, cohort, period, people), cohort and period as places (from 0) of periods; cohort = period is the
    cohort's size.

    Labels come in the order of their places, see placed_sql. In the mode on_or_after only the last period counts in
    which somebody came back.
    """
    alike, returned, parameters = _alike(project_id, question, promoted)
    later = f"arrayFilter(p -> p > cohort, {returned})"
    if question.on_or_after:
        later = f"arraySlice(arrayReverseSort({later}), 1, 1)"
    counted = (
        f"SELECT value, cohort, arrayJoin(arrayConcat([cohort], {later})) AS period, sum(alike) AS people, "
        f"if(cohort = period, people, 0) AS weight FROM ({alike}) GROUP BY value, cohort, period"
    )
    if question.breakdown is None:
        return f"SELECT '', cohort, period, people FROM ({counted})", parameters
    return (
        "SELECT label, cohort, period, sum(people) "
        f"FROM ({placed_sql(question.breakdown, counted)}) GROUP BY place, label, cohort, period ORDER BY place"
    ), parameters


def _alike(project_id: str, question: RetentionQuestion, promoted: Promoted) -> tuple[str, str, dict[str, Any]]:
    """Rows (value, cohort, came, alike): so many people are alike in all that. And the SQL of the periods in `came`.

    A set of periods does not change with events that are stored twice; numbers of events do.
    """
    scope, named = scope_sql(question.scope, promoted, breakdown=question.breakdown), Parameters("value", promoted)
    born, came_back = "e.event = {born:String}", "e.event = {return:String}"
    aggregates = {"cohort": f"minIf(period, {born})", "births": f"countIf({born})"}
    source, value = EVENTS_WITH_REPEATS, "''"
    if question.min_occurrences > 1:
        source = EVENTS_ONCE
        returned = f"arrayFilter((p, n) -> n >= {question.min_occurrences:d}, came.1, came.2)"
        aggregates["came"] = f"sumMapIf([period], [toUInt64(1)], {came_back})"
    elif len(question.starts) <= _BITS:
        returned = "bitPositionsToArray(came)"
        aggregates["came"] = f"groupBitOrIf(bitShiftLeft(toUInt64(1), period), {came_back})"
    else:
        returned = "came"
        aggregates["came"] = f"arraySort(groupUniqArrayIf(period, {came_back}))"
    if question.breakdown is not None:
        value = "first_value"
        first = "(e.timestamp, toUInt128(e.event_id))"
        aggregates[value] = f"argMinIf({value_sql(question.breakdown, named)}, {first}, {born})"
    when, having = IN_WINDOW, "births > 0"
    if question.first_time:
        # The born events of all time; whoever has one before the window is left out, so no other row of it matters.
        before = "e.timestamp < fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        when = f"{in_window('{ever:Int64}', '{until:Int64}')} AND (NOT {before} OR {born})"
        aggregates["earlier"] = f"countIf({born} AND {before})"
        having += " AND earlier = 0"
    units = scope.units(
        "transform(roundDown(toUnixTimestamp64Micro(e.timestamp), {starts:Array(Int64)}), {starts:Array(Int64)}, "
        "arrayMap(i -> toUInt64(i - 1), arrayEnumerate({starts:Array(Int64)})), toUInt64(0)) AS period",
        aggregates,
        source,
        f"{when} AND e.event IN ({{born:String}}, {{return:String}})",
    )
    alike = (
        f"SELECT {value} AS value, cohort, came, count() AS alike FROM ({units}) WHERE {having} "
        "GROUP BY value, cohort, came"
    )
    parameters = {
        **window_parameters(project_id, question.window),
        **scope.parameters,
        **named.values,
        "born": question.born_event,
        "return": question.return_event,
        "starts": question.starts,
        "ever": EARLIEST_US,
    }
    return alike, returned, parameters


def _matrix(counts: Iterable[Sequence[Any]], question: RetentionQuestion) -> Matrix:
    """(cohort, period, people) each -> a row for each period, with a number for every period from it to the last."""
    periods = len(question.starts)
    matrix = [[0] * (periods - i) for i in range(periods)]
    for cohort, period, people in counts:
        matrix[cohort][period - cohort] += people
    if question.on_or_after:
        for row in matrix:
            for j in range(len(row) - 2, 0, -1):
                row[j] += row[j + 1]
    return matrix
