"""The funnel question: how many people took each of several steps, and how long it took them."""

from collections.abc import Sequence
from math import isnan
from typing import Any

from msgspec import UNSET, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.funnel import (
    MAX_LISTED_PEOPLE,
    MAX_STEPS,
    FunnelAnswer,
    FunnelBreakdown,
    FunnelOrder,
    FunnelPeople,
    FunnelQuery,
    FunnelStepAnswer,
)
from services.query.execution.executor import QuestionStore
from services.query.request.breakdown import Breakdown, parse_breakdown
from services.query.request.event_filter import Selection, parse_selections
from services.query.request.segment import Scope, parse_scope
from services.query.request.time_window import SECOND_US, Window, parse_window
from services.query.sql.breakdown import line_of, placed_sql, value_sql
from services.query.sql.event_filter import selection_sql
from services.query.sql.events import EVENTS_WITH_REPEATS, IN_WINDOW, window_parameters
from services.query.sql.funnel_steps import in_any_order, ordered, strict
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.persons import PERSON, PERSON_ID
from services.query.sql.segment import scope_sql

# In the order `any`: the work doubles with each.
MAX_STEPS_ALIKE = 4
_TIME_BITS = 75


class FunnelQuestion(Struct, frozen=True):
    """Of a person's starts the one counts that gets furthest, of several the first.

    `conversion_s`: all steps within so many seconds of the first, None: within the window. `people_of_step`: list
    those who came to this step.
    """

    steps: list[Selection]
    window: Window
    order: FunnelOrder
    conversion_s: int | None
    breakdown: Breakdown | None
    people_of_step: int | None
    scope: Scope


def parse_funnel(query: FunnelQuery, project_id: str) -> FunnelQuestion:
    question = FunnelQuestion(
        steps=parse_selections([(step.event, step.filter) for step in query.steps], "steps"),
        window=parse_window(query.since, query.until, query.timezone),
        order=query.order or "ordered",
        conversion_s=query.conversion_window_seconds,
        breakdown=parse_breakdown(query.breakdown, query.top),
        people_of_step=query.people_of_step,
        scope=parse_scope(query),
    )
    check_funnel(question)
    return question


def check_funnel(question: FunnelQuestion) -> None:
    """Raises ApiError for options that do not go together."""
    if question.people_of_step is not None and question.people_of_step > len(question.steps):
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`people_of_step`: the funnel has no step {question.people_of_step}, only {len(question.steps)}.",
            field="people_of_step",
        )
    if question.order == "any" and max(map(len, alike(question.steps))) > MAX_STEPS_ALIKE:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`steps`: in the order `any`, at most {MAX_STEPS_ALIKE} of them may have the same event.",
            field="steps",
        )


async def answer_funnel(
    store: QuestionStore, project_id: str, question: FunnelQuestion, promoted: Promoted
) -> FunnelAnswer:
    rows = await store.rows(*funnel_sql(project_id, question, promoted))
    # The line of all people has the place 0, so it comes first; without people there is none.
    steps = _steps(question, rows[0][2] if rows else None)
    answer = FunnelAnswer(order=question.order, steps=steps)
    if question.breakdown is not None:
        lines = [(line_of(label), figures) for _, label, figures in rows[1:]]
        answer.breakdown = [
            FunnelBreakdown(kind=line.kind, value=line.value, steps=_steps(question, figures))
            for line, figures in lines
        ]
    if question.people_of_step is not None:
        people = people_sql(project_id, question, question.people_of_step, promoted)
        found = [who for (who,) in await store.rows(*people)]
        answer.listed = FunnelPeople(
            step=question.people_of_step, people=found[:MAX_LISTED_PEOPLE], more=len(found) > MAX_LISTED_PEOPLE
        )
    return answer


def funnel_sql(project_id: str, question: FunnelQuestion, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """Rows (place, label, [(people, median and p90 in microseconds) of each step]); place 0 is everybody."""
    people, parameters = _people(project_id, question, promoted)
    steps = range(1, len(question.steps) + 1)
    states = [f"countIf(level >= {k:d}) AS people_{k:d}" for k in steps]
    states += [
        f"quantilesExactInclusiveIfState(0.5, 0.9)(at[{k:d}] - at[{k - 1:d}], level >= {k:d}) AS seconds_{k:d}"
        for k in steps[1:]
    ]
    by_value = f"SELECT value, people_1 AS weight, {', '.join(states)} FROM ({people}) GROUP BY value"
    # The first step takes no time, and an answer has the same columns for each step.
    figures = ["(sum(people_1), [toFloat64(0), toFloat64(0)])"]
    figures += [f"(sum(people_{k:d}), quantilesExactInclusiveIfMerge(0.5, 0.9)(seconds_{k:d}))" for k in steps[1:]]
    if question.breakdown is None:
        return f"SELECT 0, '', [{', '.join(figures)}] FROM ({by_value})", parameters
    return (
        f"SELECT place, label, [{', '.join(figures)}] AS figures FROM ({placed_sql(question.breakdown, by_value)}) "
        "GROUP BY GROUPING SETS ((), (place, label)) ORDER BY place",
        parameters,
    )


def people_sql(project_id: str, question: FunnelQuestion, step: int, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """One column: who came to the step, one more than are listed."""
    people, parameters = _people(project_id, question, promoted, PERSON_ID)
    limit = MAX_LISTED_PEOPLE + 1
    return f"SELECT unit FROM ({people}) WHERE level >= {step:d} ORDER BY unit LIMIT {limit:d}", parameters


def _people(
    project_id: str, question: FunnelQuestion, promoted: Promoted, person: str = PERSON
) -> tuple[str, dict[str, Any]]:
    """Rows (unit, level, at, value): see funnel_sql.py. `value` is the breakdown's at the event of step 1."""
    rows, parameters = _histories(project_id, question, promoted, person)
    count = len(question.steps)
    if question.order == "ordered":
        found = ordered(rows, count)
    elif question.order == "strict":
        found = strict(rows, count)
    else:
        found = in_any_order(rows, count, alike(question.steps))
    value = "''" if question.breakdown is None else "arrayFirst(s -> s.1 = history[started], starts).2"
    return f"SELECT unit, level, at, {value} AS value FROM ({found})", parameters


def _histories(
    project_id: str, question: FunnelQuestion, promoted: Promoted, person: str
) -> tuple[str, dict[str, Any]]:
    """Rows (unit, times, masks), each person's events as 128-bit numbers of (time since the window's begin: 53 bits,
    the first 55 bits of the event id, mask: 20) put in order.

    Repeats of a stored row are neighbours then, and taken away where they matter. Events that are no step count in
    `strict` order only.
    """
    conditions = [condition for step in question.steps for condition in step.conditions]
    scope = scope_sql(question.scope, promoted, conditions, person, question.breakdown)
    named = Parameters("step", promoted)
    can_be = [f"bitShiftLeft(toUInt32({selection_sql(s, named)}), {i:d})" for i, s in enumerate(question.steps)]
    within = question.window.until_us - question.window.since_us
    if question.conversion_s is not None:
        within = min(within, question.conversion_s * SECOND_US)
    names = named.add(sorted({step.event for step in question.steps}), "Array(String)")
    only_steps = (
        "" if question.order == "strict" else f" AND e.event IN {names}{' AND mask != 0' if conditions else ''}"
    )
    aggregates, history = {"packed_events": "groupArray(packed)"}, "packed_events"
    if question.order != "any":
        # Nothing before the first start can matter.
        aggregates["first"] = "minIf(packed, bitTest(mask, 0))"
        history = "arrayFilter(x -> x >= first, packed_events)"
    if question.breakdown is not None:
        can_start = "mask != 0" if question.order == "any" else "bitTest(mask, 0)"
        aggregates["starts"] = f"groupArrayIf((packed, {value_sql(question.breakdown, named)}), {can_start})"
    units = scope.units(
        f"{' + '.join(can_be)} AS mask, "
        f"bitShiftLeft(toUInt128(toUnixTimestamp64Micro(e.timestamp) - {{since:Int64}}), {_TIME_BITS})"
        f" + bitShiftLeft(bitShiftRight(toUInt128(e.event_id), 73), {MAX_STEPS}) + mask AS packed",
        aggregates,
        EVENTS_WITH_REPEATS,
        f"{IN_WINDOW}{only_steps}",
    )
    can_begin = "" if question.order == "any" else " WHERE first > 0"
    starts = "" if question.breakdown is None else "starts, "
    history = f"arraySort({history})"
    # A repeat could else be the next event, or another step of the same name.
    if question.order != "ordered" or max(map(len, alike(question.steps))) > 1:
        history = f"arrayCompact({history})"
    mask = "toUInt8(x)" if len(question.steps) <= 8 else f"bitAnd(toUInt32(x), {2**MAX_STEPS - 1:d})"
    rows = (
        f"WITH {history} AS history "
        f"SELECT unit, history, {starts}arrayMap(x -> toInt64(bitShiftRight(x, {_TIME_BITS})), history) AS times, "
        f"arrayMap(x -> {mask}, history) AS masks FROM ({units}){can_begin}"
    )
    window = window_parameters(project_id, question.window)
    return rows, {**window, **scope.parameters, **named.values, "within": within}


def alike(steps: Sequence[Selection]) -> list[list[int]]:
    """The numbers of the steps, by event name."""
    groups: dict[str, list[int]] = {}
    for number, step in enumerate(steps, 1):
        groups.setdefault(step.event, []).append(number)
    return list(groups.values())


def _steps(question: FunnelQuestion, figures: Sequence[Any] | None) -> list[FunnelStepAnswer]:
    counts = [0] * len(question.steps) if figures is None else [people for people, _ in figures]
    following = [*counts[1:], counts[-1]]
    steps = []
    for i, (people, onward) in enumerate(zip(counts, following, strict=True)):
        median, p90 = (None, None) if i == 0 or figures is None else map(_seconds, figures[i][1])
        step = FunnelStepAnswer(
            people=people,
            drop_off=people - onward,
            conversion_from_start=people / counts[0] if counts[0] else None,
            conversion_from_before=people / counts[i - 1] if i and counts[i - 1] else None,
            median_seconds=median,
            p90_seconds=p90,
            event=UNSET if question.order == "any" else question.steps[i].event,
        )
        steps.append(step)
    return steps


def _seconds(microseconds: float) -> float | None:
    return None if isnan(microseconds) else microseconds / SECOND_US
