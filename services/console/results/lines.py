"""The picture of trends: a line for each series and value of the breakdown; what has not ended is dashed.

Of one period alone it is bars. Pure.
"""

from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from services.console.results.numbers import period
from services.console.results.scale import Scale, Tick, Value, scale_of, time_ticks, x
from services.console.results.tables import Cell, count_cell
from services.console.results.trends import Line
from services.contract.api.trends import TrendsResult

COLOURS = 10
_MOST_DOTS = 62
# More lines than these are pointed at one by one.
MOST_TOGETHER = 12
WHOLE, OPEN, BEFORE = "whole", "open", "before"


class Stroke(Struct, frozen=True):
    """A part of a line, as a path of SVG. `kind`: what has ended, what has not, the period before."""

    kind: str
    path: str


class Drawn(Struct, frozen=True):
    """A line in its colour. `dots`: a path too, empty where they would touch."""

    name: str
    colour: int
    strokes: list[Stroke]
    dots: str


class LinePicture(Struct, frozen=True):
    """`hints`: JSON for the module that says what is pointed at."""

    lines: list[Drawn]
    scale: Scale
    ticks: list[Tick]
    hints: str
    has_before: bool


class LineBar(Struct, frozen=True):
    """A line of one period. `left` and `width`: of a hundred."""

    name: str
    value: Cell
    colour: int
    left: str
    width: str


def line_picture(result: TrendsResult, lines: list[Line], zone: ZoneInfo) -> LinePicture:
    count = len(result.periods)
    scale = scale_of([value for line in lines for value in (*line.values, *(line.before or [])[:count])])
    ended = next((i for i, complete in enumerate(result.complete) if not complete), count)
    return LinePicture(
        lines=[drawn(line, place, scale, ended) for place, line in enumerate(lines)],
        scale=scale,
        ticks=time_ticks(result.periods, result.interval, zone),
        hints=_hints(result, lines, scale, zone, ended),
        has_before=any(line.before is not None for line in lines),
    )


def drawn(line: Line, place: int, scale: Scale, ended: int) -> Drawn:
    """What has not ended begins at the last point that has."""
    points = _points(line.values, len(line.values), scale)
    strokes = [Stroke(WHOLE, _path(points[:ended]))]
    if ended < len(points):
        strokes.append(Stroke(OPEN, _path(points[max(ended - 1, 0) :])))
    if line.before is not None:
        strokes = [Stroke(BEFORE, _path(_points(line.before, len(points), scale))), *strokes]
    dots = "".join(_dot(point) for point in points if point is not None) if len(points) <= _MOST_DOTS else ""
    return Drawn(line.name, place % COLOURS, [one for one in strokes if one.path], dots)


def _points(values: list[Value], count: int, scale: Scale) -> list[tuple[int, int] | None]:
    return [None if value is None else (x(i, count), scale.y(value)) for i, value in enumerate(values[:count])]


def _path(points: list[tuple[int, int] | None]) -> str:
    """With a gap where there is no value."""
    parts, is_first = [], True
    for i, point in enumerate(points):
        if point is not None:
            is_alone = is_first and (i + 1 == len(points) or points[i + 1] is None)
            parts.append(_dot(point) if is_alone else f"{'M' if is_first else 'L'}{point[0]} {point[1]}")
        is_first = point is None
    return "".join(parts)


def _dot(point: tuple[int, int]) -> str:
    """A line without length, whose ends are round."""
    return f"M{point[0]} {point[1]}h0"


def _hints(result: TrendsResult, lines: list[Line], scale: Scale, zone: ZoneInfo, ended: int) -> str:
    said = {
        "labels": [period(start, result.interval, zone) for start in result.periods],
        "ended": ended,
        "low": scale.low,
        "high": scale.high,
        "together": len(lines) <= MOST_TOGETHER,
        "lines": [
            {"name": line.name, "values": line.values, "cell": line.behind(None, "")}
            | ({} if line.before is None else {"before": line.before})
            for line in lines
        ],
    }
    return msgspec.json.encode(said).decode()


def line_bars(result: TrendsResult, lines: list[Line], zone: ZoneInfo) -> list[LineBar]:
    label = period(result.periods[0], result.interval, zone)
    values = [line.values[0] or 0 for line in lines]
    low, high = min([0, *values]), max([0, *values])  # nobody has a value: there is no line
    whole = high - low or 1
    return [
        LineBar(
            name=line.name,
            value=count_cell(line.values[0], line.behind(0, label)),
            colour=place % COLOURS,
            left=f"{100 * (min(value, 0) - low) / whole:.2f}%",
            width=f"{100 * abs(value) / whole:.2f}%",
        )
        for place, (line, value) in enumerate(zip(lines, values, strict=True))
    ]
