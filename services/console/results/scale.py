"""Axes: where a value stands on a picture, and what is written beside it. Pure.

A picture is as wide and high as its page has room: places are counted in parts of it, from its left upper corner.
"""

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.console.frame.show import number
from services.console.results.numbers import THIN

WIDE, HIGH = 10_000, 1000
_STEPS_UP = 5
_MOST_TICKS = 7
# What stands so near to an edge would hang over it.
_EDGE = 3
_MILLION = 1_000_000
# Beyond these a double cannot be divided into steps: a value stands at the edge.
_MOST, _LEAST = 1e300, 1e-300
Value = float | int | None


class Scale(Struct, frozen=True):
    """Upwards, from `low` to `high`, both at a tick. `ticks`: from the top down."""

    low: float
    high: float
    ticks: list[str]

    def y(self, value: float) -> int:
        value = min(self.high, max(self.low, value))
        return round(HIGH * (self.high - value) / (self.high - self.low))

    @property
    def grid(self) -> str:
        """A line across at each tick, as a path of SVG."""
        steps = len(self.ticks) - 1
        return "".join(f"M0 {round(HIGH * i / steps)}h{WIDE}" for i in range(steps + 1))


class Tick(Struct, frozen=True):
    """`at`: of a hundred. `is_minor`: where there is little room it is left out."""

    at: float
    text: str
    is_minor: bool
    anchor: str


def scale_of(values: list[Value]) -> Scale:
    """With nought on it, and steps of 1, 2 or 5."""
    known = [min(_MOST, max(-_MOST, value)) for value in values if value is not None] or [0]
    low, high = min(0, *known), max(0, *known)
    step = _step((high - low) / _STEPS_UP)
    if step < 1 and all(float(value).is_integer() for value in known):
        step = 1
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return Scale(first * step, last * step, [_short(place * step, step) for place in range(last, first - 1, -1)])


def _step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20..."""
    if least <= 0:
        return 1
    least = max(least, _LEAST)
    size = 10.0 ** math.floor(math.log10(least))
    return next(size * one for one in (1, 2, 5, 10) if size * one >= least * (1 - 1e-9))


def _short(value: float, step: float) -> str:
    if abs(value) >= _MILLION:
        return f"{value / _MILLION:,.6g}".replace(",", THIN) + f"{THIN}M"
    return number(round(value, max(0, 1 - math.floor(math.log10(step)))))


def x(place: int, count: int) -> int:
    """Of one of `count` periods. The first and the last stand at the edges."""
    return round(WIDE * place / max(count - 1, 1))


def time_ticks(starts: list[datetime], interval: str, zone: ZoneInfo) -> list[Tick]:
    """As many as a desk has room for; the year where it changes."""
    every, count, year, ticks = math.ceil(len(starts) / _MOST_TICKS), len(starts), 0, []
    for number_of, place in enumerate(range(0, count, every)):
        local = starts[place].astimezone(zone)
        at = x(place, count) * 100 / WIDE
        anchor = "start" if at < _EDGE else "end" if at > 100 - _EDGE else "middle"
        ticks.append(Tick(round(at, 2), _said(local, interval, local.year != year), number_of % 2 == 1, anchor))
        year = local.year
    return ticks


def _said(local: datetime, interval: str, with_year: bool) -> str:
    year = f" {local.year}" if with_year else ""
    if interval == "month":
        return f"{local:%b}{year}"
    day = f"{local.day} {local:%b}"
    return f"{day} {local:%H:%M}" if interval == "hour" else f"{day}{year}"
