"""The funnel query: how many people took each of several steps, and how long it took them."""

from collections.abc import Sequence
from math import isnan
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.funnel import (
    MAX_LISTED_PEOPLE,
    FunnelBreakdown,
    FunnelOrder,
    FunnelPeople,
    FunnelQuery,
    FunnelResult,
    FunnelStepResult,
)
from services.contract.api.people import CellLine
from services.contract.api.timestamps import microseconds
from services.query.execution.executor import QueryExecutor
from services.query.request.breakdown import Breakdown, parse_breakdown
from services.query.request.event_filter import EventFilter, can_be_one, listed_names, parse_event_filters, shown_names
from services.query.request.segment import Segment, parse_segment
from services.query.request.time_window import LATEST_US, SECOND_US, TimeWindow, window_of
from services.query.sql.breakdown import by_value, label_sql, line_of, placed_sql, value_sql, value_text
from services.query.sql.event_filter import event_filter_columns
from services.query.sql.events import EVENTS_WITH_DUPLICATES, IN_WINDOW, window_parameters
from services.query.sql.funnel_steps import in_any_order, ordered, strict
from services.query.sql.moments import moments
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.persons import PERSON, PERSON_ID
from services.query.sql.segment import segment_sql
from services.runtime.clock import utc_now

# In the order `any`: the work doubles with each.
MAX_STEPS_ALIKE = 4
# A mask of so many is read as a byte.
_MIN_MASK_BITS = 8


class FunnelSpec(Struct, frozen=True):
    """Of a person's starts the one counts that gets furthest, of several the first.

    The first step lies in the window. `conversion_s`: all others within so many seconds of it, also after the window;
    None: within the window. `people_of_step`: list those who came to this step.
    """

    steps: list[EventFilter]
    window: TimeWindow
    order: FunnelOrder
    conversion_s: int | None
    breakdown: Breakdown | None
    people_of_step: int | None
    segment: Segment

    @property
    def read_window(self) -> TimeWindow:
        """Where any step may lie."""
        later_us = (self.conversion_s or 0) * SECOND_US
        return replace(self.window, until_us=min(self.window.until_us + later_us, LATEST_US))


def parse_funnel(query: FunnelQuery, project_id: str) -> FunnelSpec:
    spec = FunnelSpec(
        steps=parse_event_filters([(step.event, step.filter) for step in query.steps], "steps"),
        window=window_of(query),
        order=query.order or "ordered",
        conversion_s=query.conversion_window_seconds,
        breakdown=parse_breakdown(query.breakdown, query.top),
        people_of_step=query.people_of_step,
        segment=parse_segment(query),
    )
    check_funnel(spec)
    return spec


def check_funnel(spec: FunnelSpec) -> None:
    """Raises ApiError for options that do not go together."""
    if spec.people_of_step is not None and spec.people_of_step > len(spec.steps):
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`people_of_step`: the funnel has no step {spec.people_of_step}, only {len(spec.steps)}.",
            field="people_of_step",
        )
    if spec.order == "any" and max(map(len, alike(spec.steps))) > MAX_STEPS_ALIKE:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`steps`: in the order `any`, at most {MAX_STEPS_ALIKE} of them may be about the same event.",
            field="steps",
        )


async def run_funnel(store: QueryExecutor, project_id: str, spec: FunnelSpec, promoted: Promoted) -> FunnelResult:
    rows = await store.rows(*funnel_sql(project_id, spec, promoted))
    # The line of all people has the place 0, so it comes first; without people there is none.
    steps = _steps(spec, rows[0][2] if rows else None)
    result = FunnelResult(order=spec.order, steps=steps)
    if spec.breakdown is not None:
        lines = [(line_of(label), figures) for _, label, figures in rows[1:]]
        result.breakdown = [
            FunnelBreakdown(kind=line.kind, value=line.value, steps=_steps(spec, figures)) for line, figures in lines
        ]
    if spec.people_of_step is not None:
        people = people_sql(project_id, spec, spec.people_of_step, promoted)
        found = [who for (who,) in await store.rows(*people)]
        result.listed = FunnelPeople(
            step=spec.people_of_step, people=found[:MAX_LISTED_PEOPLE], more=len(found) > MAX_LISTED_PEOPLE
        )
    return result


def funnel_sql(project_id: str, spec: FunnelSpec, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """Rows (place, label, [(people, median and p90 in microseconds) of each step]); place 0 is everybody."""
    people, parameters = _people(project_id, spec, promoted)
    steps = range(1, len(spec.steps) + 1)
    states = [f"countIf(level >= {k:d}) AS people_{k:d}" for k in steps]
    states += [
        f"quantilesExactInclusiveIfState(0.5, 0.9)(at[{k:d}] - at[{k - 1:d}], level >= {k:d}) AS seconds_{k:d}"
        for k in steps[1:]
    ]
    by_text = f"SELECT value_text, people_1 AS weight, {', '.join(states)} FROM ({people}) GROUP BY value_text"
    # The first step takes no time, and an answer has the same columns for each step.
    figures = ["(sum(people_1), [toFloat64(0), toFloat64(0)])"]
    figures += [f"(sum(people_{k:d}), quantilesExactInclusiveIfMerge(0.5, 0.9)(seconds_{k:d}))" for k in steps[1:]]
    if spec.breakdown is None:
        return f"SELECT 0, '', [{', '.join(figures)}] FROM ({by_text})", parameters
    placed = placed_sql(spec.breakdown, by_value(spec.breakdown, by_text))
    return (
        f"SELECT place, label, [{', '.join(figures)}] AS figures FROM ({placed}) "
        "GROUP BY GROUPING SETS ((), (place, label)) ORDER BY place",
        parameters,
    )


def people_sql(project_id: str, spec: FunnelSpec, step: int, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """One column: who came to the step, one more than are listed."""
    people, parameters = _people(project_id, spec, promoted, PERSON_ID)
    limit = MAX_LISTED_PEOPLE + 1
    came = _those(f"level >= {step:d}")
    return f"SELECT {came} AS who FROM ({people}) ORDER BY who LIMIT {limit:d}", parameters


def _those(condition: str) -> str:
    """Of the people, those for whom it holds. As a WHERE it would be worked out with all that it is made of, and then the
    person's steps once more."""
    return f"arrayJoin(if({condition}, [unit], []))"


def funnel_people_sql(
    project_id: str, spec: FunnelSpec, step: int, drop_off: bool, line: CellLine | None, promoted: Promoted
) -> tuple[str, dict[str, Any]]:
    """One column, `unit`: who came to the step, each once; `drop_off`: and no further."""
    came = f"level = {step:d} AND {step:d} < {len(spec.steps):d}" if drop_off else f"level >= {step:d}"
    if spec.breakdown is None or line is None:
        people, parameters = _people(project_id, _as_far_as(spec, step + drop_off), promoted)
        return f"SELECT {_those(came)} AS unit FROM ({people})", parameters
    people, parameters = _people(project_id, spec, promoted)
    named = Parameters("line", promoted)
    label = label_sql(spec.breakdown, line.kind, line.value, named)
    if line.kind != "other":
        value = value_sql(spec.breakdown, "value_text")
        sql = f"SELECT {_those(f'{came} AND {value} = {label}')} AS unit FROM ({people})"
    else:
        by_text = (
            f"SELECT value_text, countIf(level >= 1) AS weight, groupArrayIf(unit, {came}) AS units "
            f"FROM ({people}) GROUP BY value_text"
        )
        placed = placed_sql(spec.breakdown, by_value(spec.breakdown, by_text))
        sql = f"SELECT arrayJoin(units) AS unit FROM ({placed}) WHERE label = {label}"
    return sql, {**parameters, **named.values}


def _as_far_as(spec: FunnelSpec, step: int) -> FunnelSpec:
    """Without the steps that cannot matter to who came to this one. In the order `any` each may be the next."""
    if spec.order == "any":
        return spec
    return replace(spec, steps=spec.steps[: max(2, step)], breakdown=None)


def _people(project_id: str, spec: FunnelSpec, promoted: Promoted, person: str = PERSON) -> tuple[str, dict[str, Any]]:
    """Rows (unit, level, at, value_text): see services/query/sql/funnel_steps.py. The text is the breakdown's at the event of
    step 1."""
    rows, parameters = _histories(project_id, spec, promoted, person)
    count = len(spec.steps)
    if spec.order == "ordered":
        found = ordered(rows, count)
    elif spec.order == "strict":
        found = strict(rows, count)
    else:
        found = in_any_order(rows, count, alike(spec.steps))
    text = "''" if spec.breakdown is None else "arrayFirst(s -> s.1 = history[started], starts).2"
    return f"SELECT unit, level, at, {text} AS value_text FROM ({found})", parameters


def _histories(project_id: str, spec: FunnelSpec, promoted: Promoted, person: str) -> tuple[str, dict[str, Any]]:
    """Rows (unit, times, masks), each person's events as numbers, see moments.py, with the mask as payload, in order.

    Duplicates of a stored row are neighbours then, and taken away where they matter. Events that are no step count in
    `strict` order only.
    """
    conditions = [condition for step in spec.steps for condition in step.conditions]
    segment = segment_sql(spec.segment, promoted, conditions, person, spec.breakdown)
    named = Parameters("step", promoted)
    read = spec.read_window
    moment = moments(read, max(len(spec.steps), _MIN_MASK_BITS), microseconds(utc_now()))
    are_step = event_filter_columns(spec.steps, named)
    can_be = [f"bitShiftLeft(toUInt32({is_step}), {i:d})" for i, is_step in enumerate(are_step)]
    length = spec.window.until_us - spec.window.since_us
    within = length if spec.conversion_s is None else spec.conversion_s * SECOND_US
    if spec.conversion_s is not None and spec.order != "any":
        can_be[0] += " * (e.timestamp < fromUnixTimestamp64Micro({until_start:Int64}, 'UTC'))"
    only_steps = _only_steps(spec, named)
    given, columns = f"{' + '.join(can_be)} AS mask, {moment.number('mask')} AS packed", ["packed"]
    # The mask is in the number: it need not be sent beside it.
    mask = moment.payload("packed")
    # Not in a WHERE, where conditions would be worked out once more.
    all_read_count = not conditions or spec.order == "strict"
    packed_events = "groupArray(packed)" if all_read_count else f"groupArrayIf(packed, {mask} != 0)"
    aggregates, history = {"packed_events": packed_events}, "packed_events"
    if spec.order != "any":
        # Nothing before the first start can matter.
        aggregates["first"] = f"minIf(packed, bitTest({mask}, 0))"
        history = "arrayFilter(x -> x >= first, packed_events)"
    if spec.breakdown is not None:
        can_start = "{} != 0" if spec.order == "any" else "bitTest({}, 0)"
        given += f", {value_text(spec.breakdown, named, can_start.format('mask'))} AS text"
        columns.append("text")
        aggregates["starts"] = f"groupArrayIf((packed, text), {can_start.format(mask)})"
    units = segment.units_of_rows(given, columns, aggregates, EVENTS_WITH_DUPLICATES, IN_WINDOW, only_steps)
    can_begin = "" if spec.order == "any" else " WHERE first > 0"
    starts = "" if spec.breakdown is None else "starts, "
    history = f"arraySort({history})"
    # A duplicate could else be the next event, or another step of the same name.
    if spec.order != "ordered" or max(map(len, alike(spec.steps))) > 1:
        history = f"arrayCompact({history})"
    rows = (
        f"WITH {history} AS history "
        f"SELECT unit, history, {starts}arrayMap(x -> {moment.time('x')}, history) AS times, "
        f"arrayMap(x -> {moment.payload('x')}, history) AS masks FROM ({units}){can_begin}"
    )
    starts_end = {"within": within, "until_start": spec.window.until_us, "length": length}
    window = window_parameters(project_id, read)
    return rows, {**window, **moment.parameters, **segment.parameters, **named.values, **starts_end}


def _only_steps(spec: FunnelSpec, named: Parameters) -> str:
    """Which events are read, behind an AND: those of the steps' names, where others do not come between."""
    listed: set[str] = set()
    for step in spec.steps:
        listed.update(() if step.event is None else listed_names(step.event))
    # Also where it is not spoken of: the names of the parameters go on as they were.
    names = named.add(sorted(listed), "Array(String)")
    if spec.order == "strict":
        return ""
    return "" if any(step.event is None for step in spec.steps) else f" AND e.event IN {names}"


def alike(steps: Sequence[EventFilter]) -> list[list[int]]:
    """The numbers of the steps, in groups: an event can be steps of one group only."""
    groups: list[list[int]] = []
    for number, step in enumerate(steps, 1):
        met = [group for group in groups if any(can_be_one(step.event, steps[k - 1].event) for k in group)]
        joined = sorted([*(k for group in met for k in group), number])
        groups = sorted([*(group for group in groups if group not in met), joined])
    return groups


def _steps(spec: FunnelSpec, figures: Sequence[Any] | None) -> list[FunnelStepResult]:
    counts = [0] * len(spec.steps) if figures is None else [people for people, _ in figures]
    following = [*counts[1:], counts[-1]]
    steps = []
    for i, (people, onward) in enumerate(zip(counts, following, strict=True)):
        median, p90 = (None, None) if i == 0 or figures is None else map(_seconds, figures[i][1])
        step = FunnelStepResult(
            people=people,
            drop_off=people - onward,
            conversion_from_start=people / counts[0] if counts[0] else None,
            conversion_from_before=people / counts[i - 1] if i and counts[i - 1] else None,
            median_seconds=median,
            p90_seconds=p90,
            event=UNSET if spec.order == "any" else shown_names(spec.steps[i].event),
        )
        steps.append(step)
    return steps


def _seconds(microseconds: float) -> float | None:
    return None if isnan(microseconds) else microseconds / SECOND_US
