"""Paths: the streams of what people did one after another, and the tree as a table.

The picture puts together what has the same name at the same depth; the table has each way of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from msgspec import Struct

from services.console.queries.titles import event_name
from services.console.results.flow import FlowPicture, Spot, Stream, flow_picture
from services.console.results.numbers import share
from services.console.results.tables import Cell, Row, Table, behind, count_cell
from services.contract.api.path import PathNode, PathResult

MAX_ROWS = 50
_MAX_NODES_A_DEPTH = 8
_LEFT = {"after": "nothing more", "before": "nothing before"}


class _Way(Struct, frozen=True):
    """A step of somebody's path: from one spot to the next. `nodes`: the events from the root."""

    source: Spot
    target: Spot
    count: int
    behind: str


def path_table(result: PathResult, direction: str = "after", unit: str = "people") -> Table:
    """The tree from top to bottom, the most travelled way first: of all ways those that most people went."""
    ways = list(_walk(result.children, []))
    largest = sorted(range(len(ways)), key=lambda i: (-ways[i][1].count, len(ways[i][0]), i))[:MAX_ROWS]
    shown = [ways[i] for i in sorted(largest)]
    rows = [_row(event_name(result.root), result, [], result.count)]
    rows += [_row(node.event, node, way, result.count) for way, node in shown]
    columns = [unit.capitalize(), "Of the start", f"Did {_LEFT[direction]}", "Went on beyond", "Others"]
    return Table("Ways", columns, rows, cut=len(ways) - len(shown), corner="Event")


def _walk(children: list[PathNode], way: list[str]) -> Iterator[tuple[list[str], PathNode]]:
    for node in children:
        here = [*way, node.event]
        yield here, node
        yield from _walk(node.children, here)


def _row(name: str, node: PathNode | PathResult, way: list[str], start: int) -> Row:
    def part(count: int, which: str | None) -> Cell:
        return count_cell(count, behind(node=way or None, part=which)) if count or which is None else Cell("")

    cells = [
        part(node.count, None),
        Cell(share(node.count, start)),
        part(node.drop_off, "drop_off"),
        part(node.continued, "continued"),
        part(node.other, "other"),
    ]
    return Row(name, cells, depth=len(way))


def path_picture(result: PathResult, direction: str = "after", unit: str = "people") -> FlowPicture:
    """In the `direction` before, the start event stands at the right."""
    left = _LEFT[direction]
    ways = list(_ways(result, left))
    shown = _largest(ways)
    streams: dict[tuple[Spot, Spot], list[_Way]] = defaultdict(list)
    for way in ways:
        if _is_shown(way, shown):
            streams[way.source, way.target].append(way)
    # Of several ways the table has each.
    found = [
        Stream(source, target, sum(way.count for way in of), of[0].behind if len(of) == 1 else "")
        for (source, target), of in streams.items()
    ]
    return flow_picture(found, last=left, is_mirrored=direction == "before", unit=unit)


def _ways(result: PathResult, left: str) -> Iterator[_Way]:
    root = (0, event_name(result.root))
    yield from _from(root, result, [], left)


def _from(spot: Spot, node: PathNode | PathResult, way: list[str], left: str) -> Iterator[_Way]:
    if node.drop_off:
        yield _Way(spot, (len(way) + 1, left), node.drop_off, behind(node=way or None, part="drop_off"))
    for child in node.children:
        here = [*way, child.event]
        target = (len(here), child.event)
        yield _Way(spot, target, child.count, behind(node=here))
        yield from _from(target, child, here, left)


def _largest(ways: list[_Way]) -> set[Spot]:
    """Of each depth those that most people came to."""
    sizes: Counter[Spot] = Counter()
    for way in ways:
        sizes[way.target] += way.count
    depths: dict[int, list[Spot]] = defaultdict(list)
    for spot, _ in sizes.most_common():
        depths[spot[0]].append(spot)
    return {spot for spots in depths.values() for spot in spots[:_MAX_NODES_A_DEPTH]}


def _is_shown(way: _Way, shown: set[Spot]) -> bool:
    """An end of the path belongs to what it ended."""
    return way.target in shown and (way.source[0] == 0 or way.source in shown)
