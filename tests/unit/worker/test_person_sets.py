"""Who is one person, by example. See also tests/slow/worker/test_person_sets_property.py."""

import pytest

from services.worker.identity.person_sets import Edge, canonical_ids


@pytest.mark.parametrize(
    ("edges", "people"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([("a", "b")], {"a": "b", "b": "b"}, id="one"),
        pytest.param([("a", "b")] * 3, {"a": "b", "b": "b"}, id="repeated"),
        pytest.param([("a", "b"), ("b", "c")], {"a": "c", "b": "c", "c": "c"}, id="chain"),
        pytest.param([("b", "c"), ("a", "b")], {"a": "c", "b": "c", "c": "c"}, id="chain backwards"),
        pytest.param([("a", "b"), ("b", "a")], {"a": "a", "b": "a"}, id="cycle of two"),
        pytest.param([("c", "b"), ("b", "d"), ("d", "c")], {"b": "b", "c": "b", "d": "b"}, id="cycle of three"),
        pytest.param([("a", "x"), ("b", "x"), ("c", "x")], dict.fromkeys("abcx", "x"), id="star inwards"),
        pytest.param([("a", "z"), ("a", "y"), ("a", "x")], dict.fromkeys("axyz", "x"), id="star outwards"),
        pytest.param([("a", "b"), ("c", "d")], {"a": "b", "b": "b", "c": "d", "d": "d"}, id="two people"),
        pytest.param([("b", "b"), ("a", "b")], {"a": "b", "b": "b"}, id="an id merged with itself"),
        pytest.param([("b", "b")], {"b": "b"}, id="only with itself"),
    ],
)
def test_people(edges: list[Edge], people: dict[str, str]) -> None:
    assert canonical_ids(edges) == people
