"""Trends: a line for each series and value of the breakdown; what has not ended is dashed."""

from typing import Any
from zoneinfo import ZoneInfo

from msgspec import UNSET, Struct

from services.console.frame.show import number
from services.console.queries.titles import event_name
from services.console.results.figures import Figure, colour, faint, figure, plain
from services.console.results.numbers import change, line_name, period
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
# Beyond it points lead to nobody: the table does.
_MAX_LEADING = 5000
_MANY_POINTS = 62
_MANY_LINES = 12
_LEAST_BARS = 5
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
            name=_name(series, line, properties[place] if place < len(properties) else None),
            values=list(line.values),
            series=place,
            line=line_of(line.kind, line.value),
            measure=series.measure,
            before=before.get(_identity(line)),
        )
        for place, series in enumerate(result.series)
        for before in [_lines_before(result, place)]
        for line in series.lines
    ]


def _lines_before(result: TrendsResult, series: int) -> dict[tuple[str, bytes], Numbers]:
    if result.previous is UNSET:
        return {}
    return {_identity(line): list(line.values) for line in result.previous.series[series].lines}


def _identity(line: TrendLine) -> tuple[str, bytes]:
    return line.kind, b"" if line.value is UNSET else bytes(line.value)


def _name(series: TrendSeriesResult, line: TrendLine, of: str | None) -> str:
    measure = _MEASURES[series.measure] + (f" of {of}" if of else "")
    return " · ".join(filter(None, (event_name(series.event), measure, line_name(line.kind, line.value))))


def labels_of(result: TrendsResult, zone: ZoneInfo) -> list[str]:
    return [period(start, result.interval, zone) for start in result.periods]


def trends_figure(result: TrendsResult, lines: list[Line], zone: ZoneInfo) -> Figure:
    labels = labels_of(result, zone)
    if len(labels) == 1:
        return _bars(lines, labels[0])
    # Local times: Plotly knows no time zones.
    times = [start.astimezone(zone).replace(tzinfo=None).isoformat() for start in result.periods]
    ended = next((i for i, complete in enumerate(result.complete) if not complete), len(times))
    leads = len(times) * len(lines) <= _MAX_LEADING
    return figure(
        [trace for i, line in enumerate(lines) for trace in _traces(line, i, times, labels if leads else [], ended)],
        showlegend=len(lines) > 1,
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        hovermode="x unified" if len(lines) <= _MANY_LINES else "closest",
        xaxis={"type": "date", "showgrid": False},
        yaxis={"rangemode": "tozero", "zeroline": False, "nticks": 6},
    )


def _traces(line: Line, place: int, times: list[str], labels: list[str], ended: int) -> list[dict[str, Any]]:
    """The period before, what has ended, and what has not, from the last point that has.

    Without labels nothing leads on.
    """
    shown, traces = colour(place), []
    which = [line.behind(i, label) for i, label in enumerate(labels)]
    if line.before is not None:
        before = line.before[: len(times)]
        dotted = _trace(f"{line.name} (before)", times[: len(before)], before, faint(shown), "dot", place)
        traces.append(dotted | {"showlegend": False})
    whole = _trace(line.name, times[:ended], line.values[:ended], shown, "solid", place)
    traces.append(whole | {"customdata": which[:ended]})
    if ended < len(times):
        start = max(ended - 1, 0)
        rest = _trace(f"{line.name} (not ended)", times[start:], line.values[start:], shown, "dash", place)
        # The point that both have is said once.
        hints = ["skip" if i < ended else "all" for i in range(start, len(times))]
        traces.append(rest | {"showlegend": ended == 0, "customdata": which[start:], "hoverinfo": hints})
    return traces


def _trace(name: str, times: list[str], values: Numbers, shown: str, dash: str, place: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(times) <= _MANY_POINTS else "lines",
        "name": plain(name),
        "legendgroup": str(place),
        "x": times,
        "y": values,
        "line": {"color": shown, "width": 2, "dash": dash},
        "marker": {"color": shown, "size": 5},
    }


def _bars(lines: list[Line], label: str) -> Figure:
    """Of one period alone: a bar a line, the first on top."""
    turned = list(enumerate(lines))[::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [line.values[0] for _, line in turned],
        "y": list(range(len(turned))),
        "text": [plain(line.name) for _, line in turned],
        "textposition": "auto",
        "hoverinfo": "x+text",
        "marker": {"color": [colour(place) for place, _ in turned]},
        "customdata": [line.behind(0, label) for _, line in turned],
    }
    # A few bars are no thicker than many.
    rows = max(len(turned), _LEAST_BARS)
    return figure(
        [trace],
        bargap=0.3,
        xaxis={"rangemode": "tozero", "nticks": 6},
        yaxis={"visible": False, "range": [len(turned) - rows - 0.5, len(turned) - 0.5]},
    )


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
