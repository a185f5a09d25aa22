"""Who is one person, by example. See also tests/unit/worker/test_person_sets_property.py."""

from itertools import pairwise

import pytest

from services.worker.identity.person_sets import Edge, people_of


@pytest.mark.parametrize(
    ("edges", "people"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([("a", "b")], {"a": ("b", 1), "b": ("b", 1)}, id="one"),
        pytest.param([("a", "b")] * 3, {"a": ("b", 1), "b": ("b", 1)}, id="repeated"),
        pytest.param([("a", "b"), ("b", "c")], {"a": ("c", 2), "b": ("c", 2), "c": ("c", 2)}, id="chain"),
        pytest.param([("b", "c"), ("a", "b")], {"a": ("c", 2), "b": ("c", 2), "c": ("c", 2)}, id="chain backwards"),
        pytest.param([("a", "b"), ("b", "a")], {"a": ("a", 2), "b": ("a", 2)}, id="cycle of two"),
        pytest.param(
            [("c", "b"), ("b", "d"), ("d", "c")], {"b": ("b", 3), "c": ("b", 3), "d": ("b", 3)}, id="cycle of three"
        ),
        pytest.param(
            [("a", "x"), ("b", "x"), ("c", "x")],
            {"a": ("x", 3), "b": ("x", 3), "c": ("x", 3), "x": ("x", 3)},
            id="star inwards",
        ),
        pytest.param(
            [("a", "z"), ("a", "y"), ("a", "x")],
            {"a": ("x", 3), "x": ("x", 3), "y": ("x", 3), "z": ("x", 3)},
            id="star outwards",
        ),
        pytest.param(
            [("a", "b"), ("c", "d")], {"a": ("b", 1), "b": ("b", 1), "c": ("d", 1), "d": ("d", 1)}, id="two people"
        ),
        pytest.param([("b", "b"), ("a", "b")], {"a": ("b", 2), "b": ("b", 2)}, id="an id merged with itself"),
        pytest.param([("b", "b")], {"b": ("b", 1)}, id="only with itself"),
    ],
)
def test_people(edges: list[Edge], people: dict[str, tuple[str, int]]) -> None:
    assert people_of(edges) == people


def test_a_long_chain_is_no_problem() -> None:
    names = [f"{n:06d}" for n in range(50_000)]
    edges = list(pairwise(names))
    for order in (edges, edges[::-1]):
        people = people_of(order)
        assert set(people.values()) == {(names[-1], 49_999)}
        assert len(people) == 50_000
