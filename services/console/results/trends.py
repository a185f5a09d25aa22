"""Trends: a line for each series and value of the breakdown, and their table."""

from typing import Any
from zoneinfo import ZoneInfo

from msgspec import UNSET, Struct

from services.console.frame.show import number
from services.console.queries.titles import event_name
from services.console.results.numbers import change, line_names, period
from services.console.results.tables import Cell, Row, Table, behind, count_cell, line_of
from services.contract.api.trends import TrendLine, TrendSeriesResult, TrendsResult

_SUMMED = ("count", "sum")
_MEASURES = {
    "count": "",
    "people": "people",
    "per_person": "per person",
    "sum": "sum",
    "avg": "average",
    "min": "smallest",
    "max": "largest",
    "percentile": "percentile",
}
_WHOLE = "Whole window"
_WHO = "who?"
# More than these nobody reads on a page: the CSV has all.
MAX_LINES = 30
MAX_ROWS = 400
Numbers = list[float | int | None]


class Line(Struct, frozen=True):
    """A line of the picture, a column of the table. `before`: of the period before, in the same places."""

    name: str
    values: Numbers
    series: int
    line: dict[str, Any] | None
    measure: str
    before: Numbers | None = None

    def behind(self, bucket: int | None, said: str) -> str:
        return behind(series=self.series or None, bucket=bucket, line=self.line, said=said)

    @property
    def total(self) -> float | int | None:
        """None where the numbers of buckets do not add up."""
        return _sum(self.values) if self.measure in _SUMMED else None


def lines_of(result: TrendsResult, properties: list[str | None]) -> list[Line]:
    """`properties`: what each series measures."""
    return [
        Line(
            name=_name(series, line_name, properties[place] if place < len(properties) else None),
            values=list(line.values),
            series=place,
            line=line_of(line.kind, line.value),
            measure=series.measure,
            before=before.get(_identity(line)),
        )
        for place, series in enumerate(result.series)
        for before in [_lines_before(result, place)]
        for line_name, line in zip(line_names(series.lines), series.lines, strict=True)
    ]


def _lines_before(result: TrendsResult, series: int) -> dict[tuple[str, bytes], Numbers]:
    if result.previous is UNSET:
        return {}
    return {_identity(line): list(line.values) for line in result.previous.series[series].lines}


def _identity(line: TrendLine) -> tuple[str, bytes]:
    return line.kind, b"" if line.value is UNSET else bytes(line.value)


def _name(series: TrendSeriesResult, line_name: str, of: str | None) -> str:
    measure = _MEASURES[series.measure] + (f" of {of}" if of else "")
    return " · ".join(filter(None, (event_name(series.event), measure, line_name)))


def labels_of(result: TrendsResult, zone: ZoneInfo) -> list[str]:
    return [period(start, result.interval, zone) for start in result.periods]


def trends_table(result: TrendsResult, lines: list[Line], zone: ZoneInfo) -> Table:
    """A row a period, the whole window first."""
    total = Row(_WHOLE, [cell for line in lines for cell in _total(line)], is_sum=True)
    rows = [
        Row(label, [cell for line in lines for cell in _cells(line, i, label, not result.complete[i])])
        for i, label in enumerate(labels_of(result, zone)[:MAX_ROWS])
    ]
    columns = [name for line in lines for name in _columns(line)]
    corner = result.interval.capitalize()
    cut = len(result.periods) - len(rows)
    return Table(f"By {result.interval}", columns, [total, *rows], cut=cut, corner=corner)


def _columns(line: Line) -> list[str]:
    return [line.name] if line.before is None else [line.name, "before", "change"]


def _total(line: Line) -> list[Cell]:
    which = line.behind(None, _WHOLE.lower())
    if line.total is None:
        # The answer has no number for the whole window: people of two days may be the same.
        first = Cell(_WHO, which, is_word=True) if any(line.values) else Cell("")
        return [first] if line.before is None else [first, Cell(""), Cell("")]
    cells = [count_cell(line.total, which)]
    if line.before is None:
        return cells
    before = _sum(line.before)
    return [*cells, Cell(number(before)), Cell(change(line.total, before))]


def _cells(line: Line, bucket: int, label: str, is_open: bool) -> list[Cell]:
    cells = [count_cell(line.values[bucket], line.behind(bucket, label), is_open=is_open)]
    if line.before is None:
        return cells
    before = line.before[bucket] if bucket < len(line.before) else None
    return [*cells, Cell(number(before)), Cell("" if is_open else change(line.values[bucket], before))]


def _sum(values: Numbers) -> float | int:
    return sum(value or 0 for value in values)
