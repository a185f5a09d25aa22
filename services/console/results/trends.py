"""Trends: a line for each series and value of the breakdown; what has not ended is dashed."""

from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import UNSET, Struct

from services.console.results.figures import Figure, colour, faint, figure, plain
from services.console.results.numbers import change, event_name, line_name, number, period
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


class Line(Struct, frozen=True):
    """A line of the picture, a column of the table. `before`: of the period before, in the same places."""

    name: str
    values: list[float | int | None]
    series: int
    line: dict[str, Any] | None
    measure: str
    before: list[float | int | None] | None = None

    def behind(self, bucket: int | None) -> str:
        return behind(series=self.series or None, bucket=bucket, line=self.line)

    @property
    def total(self) -> float | int | None:
        """None where the numbers of buckets do not add up."""
        return sum(value or 0 for value in self.values) if self.measure in _SUMMED else None


def lines_of(result: TrendsResult, properties: list[str | None]) -> list[Line]:
    """`properties`: what each series measures."""
    lines = []
    for number_of, series in enumerate(result.series):
        of_before = _lines_before(result, number_of)
        for line in series.lines:
            before = of_before.get(_identity(line))
            lines.append(
                Line(
                    name=_name(series, line, properties[number_of] if number_of < len(properties) else None),
                    values=list(line.values),
                    series=number_of,
                    line=line_of(line.kind, line.value),
                    measure=series.measure,
                    before=before,
                )
            )
    return lines


def _lines_before(result: TrendsResult, series: int) -> dict[tuple[str, bytes], list[float | int | None]]:
    if result.previous is UNSET:
        return {}
    return {_identity(line): list(line.values) for line in result.previous.series[series].lines}


def _identity(line: TrendLine) -> tuple[str, bytes]:
    return line.kind, b"" if line.value is UNSET else bytes(line.value)


def _name(series: TrendSeriesResult, line: TrendLine, of: str | None) -> str:
    measure = " ".join(
        filter(
            None,
            (
                _MEASURES[series.measure],
                "of" if of and series.measure not in ("count", "people", "per_person") else "",
                of,
            ),
        )
    )
    names = (event_name(series.event), measure, line_name(line.kind, line.value))
    return " · ".join(filter(None, names))


def trends_figure(result: TrendsResult, lines: list[Line], zone: ZoneInfo) -> Figure:
    if len(result.periods) == 1:
        return _bars(lines)
    # Local times: Plotly knows no time zones.
    times = [start.astimezone(zone).replace(tzinfo=None).isoformat() for start in result.periods]
    ended = next((i for i, complete in enumerate(result.complete) if not complete), len(times))
    traces = [trace for i, line in enumerate(lines) for trace in _traces(line, i, times, ended)]
    return figure(
        traces,
        showlegend=len(lines) > 1,
        legend={"orientation": "h", "y": -0.16},
        hovermode="x unified" if len(lines) <= 12 else "closest",
        xaxis={"type": "date", "showgrid": False},
        yaxis={"rangemode": "tozero", "zeroline": False, "nticks": 6},
    )


def _traces(line: Line, place: int, times: list[str], ended: int) -> list[dict[str, Any]]:
    """What has ended, what has not (from the last point that has), and the period before."""
    shown = colour(place)
    traces = []
    if line.before is not None:
        before = line.before[: len(times)]
        traces.append(
            _trace(f"{line.name} (before)", times[: len(before)], before, faint(shown), "dot", place)
            | {"showlegend": False}
        )
    whole = _trace(line.name, times[:ended], line.values[:ended], shown, "solid", place)
    traces.append(whole | {"customdata": [line.behind(i) for i in range(ended)]})
    if ended < len(times):
        start = max(ended - 1, 0)
        rest = _trace(f"{line.name} (not ended)", times[start:], line.values[start:], shown, "dash", place)
        # The point that both have is said once.
        hints = ["skip" if i < ended else "all" for i in range(start, len(times))]
        traces.append(
            rest
            | {
                "showlegend": ended == 0,
                "customdata": [line.behind(i) for i in range(start, len(times))],
                "hoverinfo": hints,
            }
        )
    return traces


def _trace(
    name: str, times: list[str], values: list[float | int | None], shown: str, dash: str, place: int
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(times) <= 62 else "lines",
        "name": plain(name),
        "legendgroup": str(place),
        "x": times,
        "y": values,
        "line": {"color": shown, "width": 2, "dash": dash},
        "marker": {"color": shown, "size": 5},
    }


def _bars(lines: list[Line]) -> Figure:
    """Of one period alone: a bar a line, the first on top."""
    turned = lines[::-1]
    shown = [colour(i) for i in range(len(lines))][::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [line.values[0] for line in turned],
        "y": list(range(len(turned))),
        "text": [plain(line.name) for line in turned],
        "textposition": "auto",
        "hoverinfo": "x+text",
        "marker": {"color": shown},
        "customdata": [line.behind(0) for line in turned],
    }
    return figure([trace], xaxis={"rangemode": "tozero"}, yaxis={"visible": False})


def trends_table(result: TrendsResult, lines: list[Line], zone: ZoneInfo) -> Table:
    """A row a period, the whole window first."""
    columns = [name for line in lines for name in _columns(line)]
    total = Row("Whole window", [cell for line in lines for cell in _total(line)], is_sum=True)
    rows = [
        Row(period(start, result.interval, zone), [cell for line in lines for cell in _cells(line, i, not complete)])
        for i, start, complete in zip(count(), result.periods, result.complete, strict=False)
    ]
    return Table("By " + result.interval, columns, [total, *rows])


def _columns(line: Line) -> list[str]:
    return [line.name] if line.before is None else [line.name, "before", "change"]


def _total(line: Line) -> list[Cell]:
    if line.total is None:
        cells = [Cell("people", line.behind(None))]
        return cells if line.before is None else [*cells, Cell(""), Cell("")]
    cells = [count_cell(line.total, line.behind(None))]
    if line.before is None:
        return cells
    before = sum(value or 0 for value in line.before)
    return [*cells, Cell(number(before)), Cell(change(line.total, before))]


def _cells(line: Line, bucket: int, is_open: bool) -> list[Cell]:
    cells = [count_cell(line.values[bucket], line.behind(bucket), is_open=is_open)]
    if line.before is None:
        return cells
    before = line.before[bucket] if bucket < len(line.before) else None
    return [*cells, Cell(number(before)), Cell("" if is_open else change(line.values[bucket], before))]
