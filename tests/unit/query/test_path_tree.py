"""The prefix tree of paths: what is kept, what is `other`, what dropped off, what continued."""

import msgspec
import numpy as np
import pytest

from services.query.insights.path_tree import DistinctPaths, TooManyNodesError, path_tree

NAMES = ["", "a", "b", "c"]


def paths(*rows: tuple[str, int], depth: int = 3) -> DistinctPaths:
    """What is longer than the depth goes on beyond it."""
    levels = [[NAMES.index(path[d]) if d < len(path) else 0 for path, _ in rows] for d in range(depth)]
    return DistinctPaths(
        np.array(levels, dtype=np.int32).reshape(depth, len(rows)),
        np.array([n for _, n in rows], dtype=np.int64),
        NAMES,
        np.array([len(path) > depth for path, _ in rows], dtype=np.bool_),
    )


def continued(tree: object) -> dict[str, int]:
    """By path, where it is not 0."""

    def walk(node: dict[str, object], prefix: str) -> dict[str, int]:
        here = prefix + str(node["event"])
        found = {here: node["continued"]} if node["continued"] else {}
        for child in node["children"]:  # type: ignore[attr-defined]
            found |= walk(child, here)
        return found  # type: ignore[return-value]

    return walk(msgspec.to_builtins(tree), "")


def flat(tree: object) -> list[tuple[str, int, int, int]]:
    """(path, count, drop_off, other) of each node."""

    def walk(node: dict[str, object], prefix: str) -> list[tuple[str, int, int, int]]:
        here = prefix + str(node["event"])
        rows = [(here, node["count"], node["drop_off"], node["other"])]
        for child in node["children"]:  # type: ignore[attr-defined]
            rows += walk(child, here)
        return rows  # type: ignore[return-value]

    return walk(msgspec.to_builtins(tree), "")


def test_nobody() -> None:
    assert flat(path_tree(paths(), "s", 10, 100)) == [("s", 0, 0, 0)]


def test_everybody_stops_at_once() -> None:
    assert flat(path_tree(paths(("", 7)), "s", 10, 100)) == [("s", 7, 7, 0)]


def test_counts_add_up_and_ties_go_by_name() -> None:
    tree = path_tree(paths(("b", 2), ("a", 1), ("ab", 1), ("abc", 3), ("", 4)), "s", 10, 100)
    assert flat(tree) == [
        ("s", 11, 4, 0),
        ("sa", 5, 1, 0),
        ("sab", 4, 1, 0),
        ("sabc", 3, 3, 0),
        ("sb", 2, 2, 0),
    ]


def test_beyond_the_top_is_other_with_all_that_follows() -> None:
    tree = path_tree(paths(("aa", 3), ("ab", 3), ("ba", 5), ("cb", 4)), "s", 1, 100)
    assert flat(tree) == [("s", 15, 0, 9), ("sa", 6, 0, 3), ("saa", 3, 3, 0)]


def test_who_goes_on_beyond_the_last_level_has_not_dropped_off() -> None:
    tree = path_tree(paths(("a", 1), ("ab", 2), ("aba", 4), ("abb", 8), ("ba", 16), ("", 32), depth=2), "s", 10, 100)
    assert flat(tree) == [("s", 63, 32, 0), ("sb", 16, 0, 0), ("sba", 16, 16, 0), ("sa", 15, 1, 0), ("sab", 14, 2, 0)]
    assert continued(tree) == {"sab": 12}


def test_of_what_is_other_nobody_continues() -> None:
    tree = path_tree(paths(("ab", 3), ("bb", 2), ("cb", 1), depth=1), "s", 1, 100)
    assert flat(tree) == [("s", 6, 0, 3), ("sa", 3, 0, 0)]
    assert continued(tree) == {"sa": 3}


def test_too_many_nodes() -> None:
    path_tree(paths(("abc", 1), ("b", 1)), "s", 10, 5)
    with pytest.raises(TooManyNodesError):
        path_tree(paths(("abc", 1), ("b", 1)), "s", 10, 4)
