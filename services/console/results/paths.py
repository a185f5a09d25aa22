"""Paths: a Sankey diagram of what people did one after another, and the tree as a table.

The diagram puts together what has the same name at the same depth; the table has each way of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from msgspec import Struct

from services.console.queries.titles import event_name
from services.console.results.figures import Figure, colour, faint, figure, plain
from services.console.results.numbers import share
from services.console.results.tables import Cell, Row, Table, behind, count_cell
from services.contract.api.path import PathNode, PathResult

MAX_ROWS = 50
_MAX_NODES_A_DEPTH = 8
_LEFT = {"after": "nothing more", "before": "nothing before"}
_ENDS = "#8a94a3"
_Spot = tuple[int, str]


class _Way(Struct, frozen=True):
    """A step of somebody's path: from one spot to the next. `nodes`: the events from the root."""

    source: _Spot
    target: _Spot
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


def path_figure(result: PathResult, direction: str = "after", unit: str = "people") -> Figure:
    """In the `direction` before, the start event stands at the right."""
    left = _LEFT[direction]
    ways = list(_ways(result, left))
    shown = _largest(ways)
    spots = list(dict.fromkeys(spot for way in ways if _is_shown(way, shown) for spot in (way.source, way.target)))
    number = {spot: i for i, spot in enumerate(spots)}
    links: dict[tuple[_Spot, _Spot], list[_Way]] = defaultdict(list)
    for way in ways:
        if _is_shown(way, shown):
            links[way.source, way.target].append(way)
    ends = ("target", "source") if direction == "before" else ("source", "target")
    events = list(dict.fromkeys(name for _, name in spots if name != left))
    colours = {name: colour(i) for i, name in enumerate(events)} | {left: _ENDS}
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            # At its depth, also where nothing follows.
            "align": "right" if direction == "before" else "left",
            "label": [plain(name) for _, name in spots],
            "color": [colours[name] for _, name in spots],
            "pad": 14,
            "thickness": 12,
            "line": {"width": 0},
            "hovertemplate": f"%{{label}}<br>%{{value:,}} {plain(unit)}<extra></extra>",
        },
        "link": {
            ends[0]: [number[source] for source, _ in links],
            ends[1]: [number[target] for _, target in links],
            "value": [sum(way.count for way in of) for of in links.values()],
            "color": [faint(colours[target[1]]) for _, target in links],
            "hovertemplate": f"%{{source.label}} → %{{target.label}}<br>%{{value:,}} {plain(unit)}<extra></extra>",
            # Of several ways the table has each.
            "customdata": [of[0].behind if len(of) == 1 else "" for of in links.values()],
        },
    }
    return figure([trace], margin={"l": 8, "r": 8, "t": 8, "b": 8})


def _ways(result: PathResult, left: str) -> Iterator[_Way]:
    root = (0, event_name(result.root))
    yield from _from(root, result, [], left)


def _from(spot: _Spot, node: PathNode | PathResult, way: list[str], left: str) -> Iterator[_Way]:
    if node.drop_off:
        yield _Way(spot, (len(way) + 1, left), node.drop_off, behind(node=way or None, part="drop_off"))
    for child in node.children:
        here = [*way, child.event]
        target = (len(here), child.event)
        yield _Way(spot, target, child.count, behind(node=here))
        yield from _from(target, child, here, left)


def _largest(ways: list[_Way]) -> set[_Spot]:
    """Of each depth those that most people came to."""
    sizes: Counter[_Spot] = Counter()
    for way in ways:
        sizes[way.target] += way.count
    depths: dict[int, list[_Spot]] = defaultdict(list)
    for spot, _ in sizes.most_common():
        depths[spot[0]].append(spot)
    return {spot for spots in depths.values() for spot in spots[:_MAX_NODES_A_DEPTH]}


def _is_shown(way: _Way, shown: set[_Spot]) -> bool:
    """An end of the path belongs to what it ended."""
    return way.target in shown and (way.source[0] == 0 or way.source in shown)
