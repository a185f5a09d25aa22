"""Funnels: a bar a step, as long as the part of those who began."""

from typing import Any

from msgspec import UNSET, Struct

from services.console.frame.show import number
from services.console.queries.titles import event_name
from services.console.results.numbers import THIN, duration, line_names, share
from services.console.results.tables import PART, SIDE_BY_SIDE, Cell, Row, Table, behind, count_cell, heat_of, line_of
from services.contract.api.funnel import FunnelResult, FunnelStepResult

_COLUMNS = ["Of the start", "Of the step before", "Went no further", "Median time", "90 % within"]


class Bar(Struct, frozen=True):
    """A step. `width` and `before`: of a hundred; `before` is the period before, where it was asked for."""

    name: str
    people: Cell
    drop_off: Cell
    width: str
    of_start: str
    of_before: str
    time: str
    before: str = ""
    people_before: str = ""


class _Side(Struct, frozen=True):
    """Everybody, a line of the breakdown, or the period before, whose people the API does not list."""

    name: str
    steps: list[FunnelStepResult]
    line: dict[str, Any] | None = None
    can_ask: bool = True


def funnel_bars(result: FunnelResult) -> list[Bar]:
    before = [] if result.previous is UNSET else result.previous.steps
    return [_bar(step, i, before[i] if i < len(before) else None) for i, step in enumerate(result.steps)]


def _bar(step: FunnelStepResult, place: int, before: FunnelStepResult | None) -> Bar:
    return Bar(
        name=_step_name(step, place),
        people=count_cell(step.people, behind(step=place + 1)),
        drop_off=count_cell(step.drop_off, behind(step=place + 1, part="drop_off")),
        width=_width(step),
        of_start=share(step.conversion_from_start),
        of_before=share(step.conversion_from_before) if place else "",
        time=duration(step.median_seconds) if place and step.median_seconds is not None else "",
        before="" if before is None else _width(before),
        people_before="" if before is None else number(before.people),
    )


def _width(step: FunnelStepResult) -> str:
    return f"{100 * (step.conversion_from_start or 0):.2f}%"


def _step_name(step: FunnelStepResult, place: int) -> str:
    return f"Any {place + 1} of the steps" if step.event is UNSET else event_name(step.event)


def funnel_tables(result: FunnelResult, unit: str = "people") -> list[Table]:
    """The whole, each line of the breakdown, and the period before; where there are several, first all together."""
    sides = [_Side("Everybody", result.steps)]
    if result.breakdown is not UNSET:
        names = line_names(result.breakdown)
        sides += [
            _Side(name, one.steps, line_of(one.kind, one.value))
            for name, one in zip(names, result.breakdown, strict=True)
        ]
    if result.previous is not UNSET:
        sides.append(_Side("The period before", result.previous.steps, can_ask=False))
    tables = [_table(side, unit) for side in sides]
    return tables if len(tables) == 1 else [_side_by_side(sides, unit), *tables]


def _side_by_side(sides: list[_Side], unit: str) -> Table:
    """A column a step: people, and their share of those who began."""
    columns = [unit.capitalize(), *(_step_name(step, i) for i, step in enumerate(sides[0].steps) if i)]
    rows = [Row(side.name, [_of_start(side, i) for i in range(len(side.steps))]) for side in sides]
    return Table(SIDE_BY_SIDE, columns, rows, corner=PART, is_open=True)


def _of_start(side: _Side, place: int) -> Cell:
    step = side.steps[place]
    which = behind(step=place + 1, line=side.line) if side.can_ask else ""
    if not place or not side.steps[0].people:
        return count_cell(step.people, which)
    part = step.conversion_from_start or 0
    return Cell(share(part), which if step.people else "", note=number(step.people), heat=heat_of(part, 1))


def _table(side: _Side, unit: str) -> Table:
    rows = []
    for place, step in enumerate(side.steps):
        which = behind(step=place + 1, line=side.line) if side.can_ask else ""
        left = behind(step=place + 1, part="drop_off", line=side.line) if side.can_ask else ""
        cells = [
            count_cell(step.people, which),
            Cell(share(step.conversion_from_start)),
            Cell(share(step.conversion_from_before) if place else ""),
            count_cell(step.drop_off, left),
            Cell(duration(step.median_seconds) if place else ""),
            Cell(duration(step.p90_seconds) if place else ""),
        ]
        rows.append(Row(f"{place + 1}.{THIN}{_step_name(step, place)}", cells))
    columns = [unit.capitalize(), *_COLUMNS]
    return Table(side.name, columns, rows, corner="Step", is_open=side.line is None and side.can_ask)
