"""The picture of retention on a tile: which part came back, from the first period after the beginning on. Pure."""

import msgspec
from msgspec.structs import replace

from services.console.results.lines import MOST_TOGETHER, LinePicture, drawn
from services.console.results.numbers import THIN, line_names
from services.console.results.retention import Matrix, shares_of, width_of
from services.console.results.scale import WIDE, Tick, scale_of, x
from services.console.results.trends import Line
from services.contract.api.retention import RetentionResult

_MOST_TICKS = 7
_FEW = 2


def retention_curve(result: RetentionResult) -> LinePicture | None:
    """Everybody, and each line of the breakdown, in percent. None where there is nothing that bends."""
    sides: list[tuple[str, Matrix]] = [("Everybody", result.matrix)]
    if result.breakdown is not msgspec.UNSET:
        sides += zip(line_names(result.breakdown), (line.matrix for line in result.breakdown), strict=True)
    count = max(width_of(matrix) for _, matrix in sides) - 1
    if count < _FEW:
        return None
    every = [_line(name, matrix, result, count) for name, matrix in sides[:MOST_TOGETHER]]
    lines = [line for line in every if any(value is not None for value in line.values)]
    if not lines:
        return None
    scale = scale_of([value for line in lines for value in line.values])
    scale = replace(scale, ticks=[f"{tick}{THIN}%" for tick in scale.ticks])
    labels = [f"{result.interval.capitalize()} {offset}" for offset in range(1, count + 1)]
    said = {
        "labels": labels,
        "ended": count,
        "low": scale.low,
        "high": scale.high,
        "together": True,
        "unit": f"{THIN}%",
        "lines": [{"name": line.name, "values": line.values} for line in lines],
    }
    return LinePicture(
        lines=[drawn(line, place, scale, count) for place, line in enumerate(lines)],
        scale=scale,
        ticks=_ticks(labels),
        hints=msgspec.json.encode(said).decode(),
        has_before=False,
    )


def _line(name: str, matrix: Matrix, result: RetentionResult, count: int) -> Line:
    values = [round(100 * back / people, 1) if people else None for back, people in shares_of(matrix, result, count)]
    return Line(name=name, values=list(values), series=0, line=None, measure="")


def _ticks(labels: list[str]) -> list[Tick]:
    every, last = -(-len(labels) // _MOST_TICKS), len(labels) - 1
    return [
        Tick(
            at=round(x(place, len(labels)) * 100 / WIDE, 2),
            text=labels[place],
            is_minor=number % 2 == 1,
            anchor="start" if not place else "end" if place == last else "middle",
        )
        for number, place in enumerate(range(0, len(labels), every))
    ]
