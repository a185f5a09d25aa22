"""A picture of streams: spots in columns, as high as the people who came there, and what flows between them. Pure.

Places are counted as in `scale`. Streams are as high as the spots that they join; what crosses least stands best.
"""

from collections import defaultdict

from msgspec import Struct

from services.console.frame.show import number
from services.console.results.scale import HIGH, WIDE

COLOURS = 10
# The colour of those who did nothing more.
ENDED = "e"
_GAP = 56
_SWEEPS = 4
_MAX_NAME_CHARS = 28
# Its column, its name.
Spot = tuple[int, str]


class Stream(Struct, frozen=True):
    """From one spot to one of the next column. `behind`: which number this is."""

    source: Spot
    target: Spot
    count: int
    behind: str = ""


class Node(Struct, frozen=True):
    """A spot: a stroke from `top` to `bottom` at `x`. `left` and `middle`: of a hundred, where its name stands."""

    name: str
    short: str
    count: int
    colour: str
    x: int
    top: int
    bottom: int
    left: float
    middle: float
    is_last: bool


class Flow(Struct, frozen=True):
    """A stream as a closed path of SVG, and what it says when it is pointed at."""

    path: str
    colour: str
    said: str
    behind: str


class FlowPicture(Struct, frozen=True):
    nodes: list[Node]
    flows: list[Flow]
    columns: int


class _Place(Struct, frozen=True):
    top: float
    height: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def flow_picture(streams: list[Stream], *, last: str, is_mirrored: bool = False, unit: str = "people") -> FlowPicture:
    """`last`: the name that stands below all others. `is_mirrored`: the first column is at the right."""
    sizes = _sizes(streams)
    places = _places(streams, sizes, last)
    columns = max((column for column, _ in sizes), default=0)
    names = list(dict.fromkeys(name for _, name in sizes if name != last))
    colours = {name: str(i % COLOURS) for i, name in enumerate(names)} | {last: ENDED}

    def x(column: int) -> int:
        return round(WIDE * (columns - column if is_mirrored else column) / max(columns, 1))

    def node(spot: Spot) -> Node:
        column, name = spot
        place = places[spot]
        short = name if len(name) <= _MAX_NAME_CHARS else name[: _MAX_NAME_CHARS - 1] + "…"
        return Node(
            name=name,
            short=short,
            count=sizes[spot],
            colour=colours[name],
            x=x(column),
            top=round(place.top),
            bottom=max(round(place.top + place.height), round(place.top) + 2),
            left=round(100 * x(column) / WIDE, 2),
            middle=round(100 * place.middle / HIGH, 2),
            is_last=x(column) == WIDE,
        )

    flows = [
        Flow(
            path=_ribbon(x(stream.source[0]), begins, x(stream.target[0]), ends, height),
            colour=colours[stream.target[1]],
            said=f"{_said(stream, is_mirrored)}: {number(stream.count)} {unit}",
            behind=stream.behind,
        )
        for stream, begins, ends, height in _ends(streams, sizes, places)
    ]
    return FlowPicture(nodes=[node(spot) for spot in sizes], flows=flows, columns=columns + 1)


def _said(stream: Stream, is_mirrored: bool) -> str:
    names = (stream.source[1], stream.target[1])
    return " → ".join(names[::-1] if is_mirrored else names)


def _sizes(streams: list[Stream]) -> dict[Spot, int]:
    """What flows in, or out where that is more."""
    into: dict[Spot, int] = defaultdict(int)
    out: dict[Spot, int] = defaultdict(int)
    for stream in streams:
        out[stream.source] += stream.count
        into[stream.target] += stream.count
    spots = sorted({**out, **into}, key=lambda spot: (spot[0], -max(out[spot], into[spot])))
    return {spot: max(out[spot], into[spot]) for spot in spots}


def _places(streams: list[Stream], sizes: dict[Spot, int], last: str) -> dict[Spot, _Place]:
    """Columns one after another, each in the order, and at the height, of what flows there."""
    columns: dict[int, list[Spot]] = defaultdict(list)
    for spot in sizes:
        columns[spot[0]].append(spot)
    scale = min((_room(spots, sizes) for spots in columns.values()), default=1.0)
    places: dict[Spot, _Place] = {}
    for spots in columns.values():
        _stack(sorted(spots, key=lambda spot: spot[1] == last), sizes, scale, {}, places)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        near = _near(streams, forward)
        for column in sorted(columns, reverse=not forward):
            pulls = {spot: _pull(near.get(spot, []), places, places[spot]) for spot in columns[column]}
            ordered = sorted(columns[column], key=lambda spot: (spot[1] == last, pulls[spot]))
            _stack(ordered, sizes, scale, pulls, places)
    return places


def _room(spots: list[Spot], sizes: dict[Spot, int]) -> float:
    return (HIGH - _GAP * (len(spots) - 1)) / sum(sizes[spot] for spot in spots)


def _stack(
    spots: list[Spot], sizes: dict[Spot, int], scale: float, pulls: dict[Spot, float], places: dict[Spot, _Place]
) -> None:
    """One below the other, the whole column as near to `pulls` as there is room."""
    top = _top(spots, sizes, scale, pulls)
    for spot in spots:
        places[spot] = _Place(top, sizes[spot] * scale)
        top += sizes[spot] * scale + _GAP


def _top(spots: list[Spot], sizes: dict[Spot, int], scale: float, pulls: dict[Spot, float]) -> float:
    place, wanted = 0.0, 0.0
    for spot in spots:
        middle = place + sizes[spot] * scale / 2
        wanted += (pulls.get(spot, middle) - middle) * sizes[spot]
        place += sizes[spot] * scale + _GAP
    return min(max(0.0, wanted / sum(sizes[spot] for spot in spots)), max(0.0, HIGH + _GAP - place))


def _near(streams: list[Stream], forward: bool) -> dict[Spot, list[tuple[Spot, int]]]:
    """Of each spot those in the column before it, or after it."""
    near: dict[Spot, list[tuple[Spot, int]]] = defaultdict(list)
    for stream in streams:
        spot, other = (stream.target, stream.source) if forward else (stream.source, stream.target)
        near[spot].append((other, stream.count))
    return near


def _pull(near: list[tuple[Spot, int]], places: dict[Spot, _Place], own: _Place) -> float:
    whole = sum(count for _, count in near)
    return sum(places[spot].middle * count for spot, count in near) / whole if whole else own.middle


def _ends(
    streams: list[Stream], sizes: dict[Spot, int], places: dict[Spot, _Place]
) -> list[tuple[Stream, float, float, float]]:
    """Each stream with where it begins, where it ends, and how high it is: one below the other at their spots."""
    begins: dict[tuple[Spot, Spot], float] = {}
    ends: dict[tuple[Spot, Spot], float] = {}
    below = {spot: place.top for spot, place in places.items()}
    for stream in sorted(streams, key=lambda one: places[one.target].middle):
        begins[stream.source, stream.target] = below[stream.source]
        below[stream.source] += _height(stream, sizes, places)
    below = {spot: place.top for spot, place in places.items()}
    for stream in sorted(streams, key=lambda one: places[one.source].middle):
        ends[stream.source, stream.target] = below[stream.target]
        below[stream.target] += _height(stream, sizes, places)
    return [
        (one, begins[one.source, one.target], ends[one.source, one.target], _height(one, sizes, places))
        for one in streams
    ]


def _height(stream: Stream, sizes: dict[Spot, int], places: dict[Spot, _Place]) -> float:
    return places[stream.source].height * stream.count / sizes[stream.source]


def _ribbon(x0: int, y0: float, x1: int, y1: float, height: float) -> str:
    """A band that leaves and arrives level."""
    middle = (x0 + x1) // 2
    top0, top1 = round(y0), round(y1)
    end0, end1 = round(y0 + height), round(y1 + height)
    there = f"M{x0} {top0}C{middle} {top0} {middle} {top1} {x1} {top1}"
    return f"{there}V{end1}C{middle} {end1} {middle} {end0} {x0} {end0}Z"
