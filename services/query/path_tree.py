"""Distinct paths with numbers of people -> the prefix tree with the largest children of each node. Pure."""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from services.contract.questions import PathNode

Integers = NDArray[np.int64]


class DistinctPaths(Struct, frozen=True):
    """`levels[d][i]` is the event at depth d of path i, as a place in `names`; 0 where the path has ended.

    `people[i]` went path i. `names` are in alphabetical order behind `names[0]`, which is no event.
    """

    levels: NDArray[np.int32]
    people: Integers
    names: list[str]


class TooManyNodesError(Exception):
    """The tree would be larger than asked for."""


class _Children(Struct, frozen=True):
    """The children of one level's nodes: their parent's place in that level, their event, their people.

    Sorted by parent, then most people first, then name; `rank` is the place among the parent's children.
    """

    parent: Integers
    event: Integers
    count: Integers
    rank: Integers


def path_tree(paths: DistinctPaths, root: str, top: int, max_nodes: int) -> PathNode:
    """At each node: count = counts of children + other + drop_off. Raises TooManyNodesError."""
    tree = _node(root, int(paths.people.sum()))
    nodes, made = [tree], 1
    # The paths still followed, and the place in `nodes` that each has come to.
    rows = np.arange(len(paths.people))
    at = np.zeros(len(rows), dtype=np.int64)
    for level in paths.levels:
        events, people = level[rows], paths.people[rows]
        for node, left in zip(nodes, _sums(at, np.where(events == 0, people, 0), len(nodes)), strict=True):
            node.drop_off = left
        going = events != 0
        rows, at, events, people = rows[going], at[going], events[going], people[going]
        children, child_of_row = _children(at, events, people, len(paths.names))
        kept = children.rank < top
        made += int(kept.sum())
        if made > max_nodes:
            raise TooManyNodesError
        others = _sums(children.parent, np.where(kept, 0, children.count), len(nodes))
        for node, other in zip(nodes, others, strict=True):
            node.other = other
        nodes = list(_grow(nodes, children, kept, paths.names))
        follow = kept[child_of_row]
        rows, at = rows[follow], (np.cumsum(kept) - 1)[child_of_row[follow]]
    for node, left in zip(nodes, _sums(at, paths.people[rows], len(nodes)), strict=True):
        node.drop_off = left
    return tree


def _children(at: Integers, events: NDArray[np.int32], people: Integers, names: int) -> tuple[_Children, Integers]:
    """The children, and which of them each row goes to."""
    keys, child_of_row = np.unique(at * names + events, return_inverse=True)
    counts = np.array(_sums(child_of_row, people, len(keys)), dtype=np.int64)
    parent, event = np.divmod(keys, names)
    order = np.lexsort((event, -counts, parent))
    parent, event, counts = parent[order], event[order], counts[order]
    rank = np.arange(len(order)) - np.searchsorted(parent, parent)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return _Children(parent, event, counts, rank), place[child_of_row]


def _grow(nodes: list[PathNode], children: _Children, kept: NDArray[np.bool_], names: list[str]) -> Iterator[PathNode]:
    columns = (children.parent[kept].tolist(), children.event[kept].tolist(), children.count[kept].tolist())
    for parent, event, count in zip(*columns, strict=True):
        child = _node(names[event], count)
        nodes[parent].children.append(child)
        yield child


def _sums(group: Integers, values: Integers, groups: int) -> list[int]:
    """Exact up to 2^53 people."""
    sums: list[int] = np.bincount(group, weights=values, minlength=groups).astype(np.int64).tolist()
    return sums


def _node(event: str, count: int) -> PathNode:
    return PathNode(event=event, count=count, drop_off=0, other=0, children=[])
