"""Funnels: a bar a step, as long as the part of those who began."""

from typing import Any

from msgspec import UNSET, Struct

from services.console.frame.show import number
from services.console.queries.titles import event_name
from services.console.results.numbers import THIN, duration, line_name, share
from services.console.results.tables import Cell, Row, Table, behind, count_cell, line_of
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
    """The whole, each line of the breakdown, and the period before."""
    tables = [_table("Everybody", result.steps, None, unit, can_ask=True)]
    if result.breakdown is not UNSET:
        tables += [
            _table(line_name(line.kind, line.value), line.steps, line_of(line.kind, line.value), unit, can_ask=True)
            for line in result.breakdown
        ]
    if result.previous is not UNSET:
        tables.append(_table("The period before", result.previous.steps, None, unit, can_ask=False))
    return tables


def _table(name: str, steps: list[FunnelStepResult], line: dict[str, Any] | None, unit: str, can_ask: bool) -> Table:
    rows = []
    for place, step in enumerate(steps):
        which = behind(step=place + 1, line=line) if can_ask else ""
        left = behind(step=place + 1, part="drop_off", line=line) if can_ask else ""
        cells = [
            count_cell(step.people, which),
            Cell(share(step.conversion_from_start)),
            Cell(share(step.conversion_from_before) if place else ""),
            count_cell(step.drop_off, left),
            Cell(duration(step.median_seconds) if place else ""),
            Cell(duration(step.p90_seconds) if place else ""),
        ]
        rows.append(Row(f"{place + 1}.{THIN}{_step_name(step, place)}", cells))
    return Table(name, [unit.capitalize(), *_COLUMNS], rows, corner="Step")
