"""Distinct paths with numbers of people -> the prefix tree with the largest children of each node. Pure."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from services.contract.api.path import PathNode

Integers = NDArray[np.int64]

# So many keys (node, event) are counted in an array of all of them; more are sorted, which takes longer.
_MAX_COUNTED_KEYS = 4_000_000


class DistinctPaths(Struct, frozen=True):
    """`levels[d][i]` is the event at depth d of path i, as a place in `names`; 0 where the path has ended.

    `people[i]`, at least one, went path i; `onward[i]`: and then beyond the last level. `names` are in alphabetical order behind `names[0]`, which is no event.
    """

    levels: NDArray[np.int32]
    people: Integers
    names: list[str]
    onward: NDArray[np.bool_]


class TooManyNodesError(Exception):
    """The tree would be larger than asked for."""


class _Level(Struct, frozen=True):
    """The nodes of one depth: the parent's place in the level above, the event, and the numbers of people.

    Sorted by parent, then most people first, then name.
    """

    parent: Integers
    event: Integers
    count: Integers
    drop_off: Integers
    other: Integers
    continued: Integers


def path_tree(paths: DistinctPaths, root: str, top: int, max_nodes: int) -> PathNode:
    """At each node: count = counts of children + other + drop_off + continued. Raises TooManyNodesError."""
    parent, event, count = np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([paths.people.sum()], np.int64)
    # The paths still followed, and the place in the level's nodes that each has come to.
    rows = np.arange(len(paths.people))
    at = np.zeros(len(rows), np.int64)
    levels, made = [], 1
    for level in paths.levels:
        events, people = level[rows], paths.people[rows]
        going = events != 0
        drop_off = _sums(at[~going], people[~going], len(count))
        rows, at, events, people = rows[going], at[going], events[going], people[going]
        keys, counts, child_of_row = _children(at * len(paths.names) + events, people, len(count) * len(paths.names))
        parents, names = np.divmod(keys, len(paths.names))
        # Stable, so that ties stay in the order of their names.
        order = np.lexsort((-counts, parents))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(parents, parents)
        kept = rank < top
        made += int(kept.sum())
        if made > max_nodes:
            raise TooManyNodesError
        other = _sums(parents[~kept], counts[~kept], len(count))
        levels.append(_Level(parent, event, count, drop_off, other, np.zeros(len(count), np.int64)))
        order = order[kept[order]]
        parent, event, count = parents[order], names[order], counts[order]
        place = np.empty(len(keys), np.int64)
        place[order] = np.arange(len(order))
        follow = kept[child_of_row]
        rows, at = rows[follow], place[child_of_row[follow]]
    onward, people = paths.onward[rows], paths.people[rows]
    drop_off, continued = (_sums(at[those], people[those], len(count)) for those in (~onward, onward))
    levels.append(_Level(parent, event, count, drop_off, np.zeros(len(count), np.int64), continued))
    return _grown(levels, [root, *paths.names[1:]])


def _children(keys: Integers, people: Integers, possible: int) -> tuple[Integers, Integers, Integers]:
    """The different keys in order, the people of each, and which of them each row has."""
    if possible > _MAX_COUNTED_KEYS:
        found, of_row = np.unique(keys, return_inverse=True)
        return found, _sums(of_row, people, len(found)), of_row
    counts = _sums(keys, people, possible)
    found = np.flatnonzero(counts)
    place = np.empty(possible, np.int64)
    place[found] = np.arange(len(found))
    return found, counts[found], place[keys]


def _grown(levels: Sequence[_Level], names: Sequence[str]) -> PathNode:
    """From the deepest level up: each node is made with its children."""
    nodes: list[PathNode] = []
    parents = np.zeros(0, np.int64)
    for level in reversed(levels):
        borders = np.searchsorted(parents, np.arange(len(level.count) + 1)).tolist()
        columns = [x.tolist() for x in (level.event, level.count, level.drop_off, level.other, level.continued)]
        nodes = [
            PathNode(
                event=names[event],
                count=count,
                drop_off=drop_off,
                continued=continued,
                other=other,
                children=nodes[begin:end],
            )
            for event, count, drop_off, other, continued, (begin, end) in zip(*columns, pairwise(borders), strict=True)
        ]
        parents = level.parent
    return nodes[0]


def _sums(group: Integers, values: Integers, groups: int) -> Integers:
    """Exact up to 2^53 people."""
    return np.bincount(group, weights=values, minlength=groups).astype(np.int64)
