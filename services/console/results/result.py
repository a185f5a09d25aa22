"""The answer of a query as a page draws it, of whatever kind it is."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Struct

from services.console.results.curve import retention_curve
from services.console.results.flow import FlowPicture
from services.console.results.funnel import Bar, funnel_bars, funnel_tables
from services.console.results.lines import LineBar, LinePicture, line_bars, line_picture
from services.console.results.numbers import period, zone_of
from services.console.results.paths import path_picture, path_table
from services.console.results.retention import retention_tables
from services.console.results.tables import SIDE_BY_SIDE, Cell, Row, Table
from services.console.results.trends import MAX_LINES, lines_of, trends_table
from services.contract.api.cohort import CohortResult
from services.contract.api.events import EventsResult
from services.contract.api.funnel import FunnelPeople, FunnelResult
from services.contract.api.path import PathResult
from services.contract.api.retention import RetentionResult
from services.contract.api.trends import TrendsResult

PEOPLE = "people"
_MAX_EVENTS = 50
PARTIAL = "A part of the store did not answer: its events are missing here."
Body = dict[str, Any]


class Shown(Struct, frozen=True, kw_only=True):
    """`lines`, `line_bars`, `flow`: a picture, which `described` says in words; `curve`: one of a tile alone. `size`: of a cohort. `is_empty`: nothing happened in the window. `unit`: who is counted.

    `window`: for people; `span`: the same as times.
    """

    lines: LinePicture | None = None
    line_bars: list[LineBar] = []
    flow: FlowPicture | None = None
    curve: LinePicture | None = None
    described: str = ""
    bars: list[Bar] = []
    tables: list[Table] = []
    size: int | None = None
    people: list[str] = []
    listed: FunnelPeople | None = None
    window: tuple[str, str] | None = None
    span: tuple[datetime, datetime] | None = None
    warnings: list[str] = []
    is_empty: bool = False
    unit: str = PEOPLE

    @property
    def has_open(self) -> bool:
        """Whether a number will still grow."""
        return any(cell.is_open for table in self.tables for row in table.rows for cell in row.cells)

    @property
    def has_picture(self) -> bool:
        return bool(self.lines or self.line_bars or self.flow or self.bars)

    def is_open(self, place: int, is_tile: bool) -> bool:
        """Whether a table is not folded up. On a tile a picture is enough; a funnel's has no lines of the breakdown."""
        table = self.tables[place]
        if is_tile and (self.has_picture or self.curve):
            return bool(self.bars) and table.caption == SIDE_BY_SIDE
        return place == 0 or (table.is_open and not is_tile)


def shown(kind: str, body: Body, answer: bytes) -> Shown:
    """`body`: what was asked. Raises msgspec.MsgspecError for what is no answer of that kind."""
    return _OF_KIND[kind](body, answer)


def _trends(body: Body, answer: bytes) -> Shown:
    result, zone = msgspec.json.decode(answer, type=TrendsResult), zone_of(body.get("timezone"))
    every = lines_of(result, [one.get("property") for one in body.get("series", [])])
    lines, more = every[:MAX_LINES], _more(result, zone)
    if len(every) > len(lines):
        more["warnings"] = [
            *more["warnings"],
            f"The first {len(lines)} of {len(every)} lines are shown: the CSV has all.",
        ]
    is_one = len(result.periods) == 1
    return Shown(
        lines=None if is_one else line_picture(result, lines, zone),
        line_bars=line_bars(result, lines, zone) if is_one else [],
        described=f"Lines by {result.interval}: {len(lines)}; the table below has the numbers",
        tables=[trends_table(result, lines, zone)],
        is_empty=not any(value for line in lines for value in line.values),
        **more,
    )


def _retention(body: Body, answer: bytes) -> Shown:
    result, zone = msgspec.json.decode(answer, type=RetentionResult), zone_of(body.get("timezone"))
    is_empty = not any(row and row[0] for row in result.matrix)
    return Shown(
        tables=retention_tables(result, zone, unit_of(body)),
        curve=None if is_empty else retention_curve(result),
        described="Which part came back; the table below has the numbers",
        is_empty=is_empty,
        unit=unit_of(body),
        **_more(result, zone),
    )


def _funnel(body: Body, answer: bytes) -> Shown:
    result = msgspec.json.decode(answer, type=FunnelResult)
    return Shown(
        bars=funnel_bars(result),
        tables=funnel_tables(result, unit_of(body)),
        unit=unit_of(body),
        listed=None if result.listed is UNSET else result.listed,
        is_empty=not result.steps[0].people,
        **_more(result, zone_of(body.get("timezone"))),
    )


def _path(body: Body, answer: bytes) -> Shown:
    result = msgspec.json.decode(answer, type=PathResult)
    direction = "before" if body.get("direction") == "before" else "after"
    return Shown(
        flow=path_picture(result, direction, unit_of(body)) if result.children else None,
        described=f"Ways of {result.count} {unit_of(body)}; the table below has each",
        tables=[path_table(result, direction, unit_of(body))],
        unit=unit_of(body),
        is_empty=not result.count,
        **_more(result, zone_of(body.get("timezone"))),
    )


def _cohort(body: Body, answer: bytes) -> Shown:
    result = msgspec.json.decode(answer, type=CohortResult)
    return Shown(
        size=result.size,
        people=result.people[:_MAX_EVENTS],
        warnings=_warnings(result),
    )


def _events(body: Body, answer: bytes) -> Shown:
    """A tile of a dashboard: the first of them."""
    result, zone = msgspec.json.decode(answer, type=EventsResult), zone_of(body.get("timezone"))
    rows = [
        Row(period(one.timestamp, "hour", zone), [Cell(one.event), Cell(one.person_id)])
        for one in result.events[:_MAX_EVENTS]
    ]
    table = Table("Events", ["Event", "Person"], rows, cut=len(result.events) - len(rows), is_text=True, corner="When")
    return Shown(tables=[table], is_empty=not rows, **_more(result, zone))


def unit_of(body: Body) -> str:
    """People, or the type of groups that is counted in their place."""
    return str(body.get("aggregate_by") or PEOPLE)


def _more(result: Any, zone: ZoneInfo) -> dict[str, Any]:
    """What all answers of a window have in common."""
    window, span = None, None
    if result.window is not UNSET:
        span = (result.window.since, result.window.until)
        window = (period(result.window.since, "hour", zone), period(result.window.until, "hour", zone))
    return {"window": window, "span": span, "warnings": _warnings(result)}


def _warnings(result: Any) -> list[str]:
    """What belongs beside the numbers: without it, those of a part would be taken for all."""
    said: list[str] = [] if result.warnings is UNSET else result.warnings
    return [*missing_of(result), *said]


def missing_of(result: Any) -> list[str]:
    """What to say of an answer that a part of the store is missing in."""
    return [] if result.partial is UNSET else [PARTIAL]


_OF_KIND = {
    "trends": _trends,
    "retention": _retention,
    "funnel": _funnel,
    "path": _path,
    "cohort": _cohort,
    "events": _events,
}
