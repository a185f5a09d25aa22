"""What the query benchmark takes for the same answer."""

from typing import Any

import pytest

from tests.bench.query.same_answer import AnswersDifferError, same_funnel, same_paths


def node(event: str, count: int, drop_off: int = 0, continued: int = 0, other: int = 0, *children: Any) -> Any:
    numbers = {"count": count, "drop_off": drop_off, "continued": continued, "other": other}
    return {"event": event, **numbers, "children": list(children)}


def test_a_funnel_counts_those_who_got_at_least_so_far() -> None:
    answer = {"steps": [{"people": 6}, {"people": 3}, {"people": 2}]}
    same_funnel(answer, [(0, 9), (1, 3), (2, 1), (3, 2)])
    with pytest.raises(AnswersDifferError, match="people of step 2: the service says 3, the other way 4"):
        same_funnel(answer, [(1, 2), (2, 2), (3, 2)])


ROWS = [((), 0, 2), (("a",), 0, 3), (("a", "b"), 0, 1), (("a", "b"), 1, 4), (("b", "a"), 0, 5)]
TREE = node(
    "start",
    15,
    2,
    0,
    0,
    node("a", 8, 3, 0, 0, node("b", 5, 1, 4)),
    node("b", 5, 0, 0, 0, node("a", 5, 5)),
)


def test_paths_are_the_tree_that_they_make() -> None:
    same_paths(TREE, ROWS)


def test_more_than_ten_children_are_the_other() -> None:
    rows = [((f"e{i:02d}",), 0, 20 - i) for i in range(12)]
    children = [node(f"e{i:02d}", 20 - i, 20 - i) for i in range(10)]
    same_paths(node("start", sum(range(9, 21)), 0, 0, 19, *children), rows)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([*ROWS, (("c",), 0, 1)], "people at start: the service says 15"),
        ([((), 0, 3), (("a",), 0, 2), *ROWS[2:]], "people who stop at start: the service says 2"),
        ([*ROWS[:2], (("a", "b"), 0, 2), (("a", "b"), 1, 3), ROWS[4]], "people who go on beyond start > a > b|stop at"),
        ([*ROWS[:4], (("b", "c"), 0, 5)], "children of start > b"),
    ],
)
def test_any_other_number_is_told(rows: Any, what: str) -> None:
    with pytest.raises(AnswersDifferError, match=what):
        same_paths(TREE, rows)
