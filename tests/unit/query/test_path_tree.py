"""The prefix tree of paths: what is kept, what is `other`, what dropped off."""

import msgspec
import numpy as np
import pytest

from services.query.insights.path_tree import DistinctPaths, TooManyNodesError, path_tree

NAMES = ["", "a", "b", "c"]


def paths(*rows: tuple[str, int], depth: int = 3) -> DistinctPaths:
    levels = [[NAMES.index(path[d]) if d < len(path) else 0 for path, _ in rows] for d in range(depth)]
    return DistinctPaths(
        np.array(levels, dtype=np.int32).reshape(depth, len(rows)),
        np.array([n for _, n in rows], dtype=np.int64),
        NAMES,
    )


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


def test_too_many_nodes() -> None:
    path_tree(paths(("abc", 1), ("b", 1)), "s", 10, 5)
    with pytest.raises(TooManyNodesError):
        path_tree(paths(("abc", 1), ("b", 1)), "s", 10, 4)
