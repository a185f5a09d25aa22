"""Which links count, by example and against the oracle that sorts and folds."""

import pytest

from services.contract.links import Link, counting


def link(moment: int, prior: str, user: str) -> Link:
    return Link((moment, 0, 0), prior, user)


@pytest.mark.parametrize(
    ("links", "counts"),
    [
        pytest.param([link(1, "phone", "ann"), link(2, "laptop", "ann")], [True, True], id="two devices of one user"),
        pytest.param([link(1, "phone", "ann"), link(2, "phone", "bob")], [True, False], id="two users of one device"),
        pytest.param([link(1, "phone", "ann"), link(2, "phone", "ann")], [True, False], id="said again"),
        pytest.param([link(1, "phone", "ann"), link(2, "ann", "bob")], [True, False], id="from one user to the next"),
        pytest.param([link(1, "a", "b"), link(2, "b", "c"), link(3, "c", "d")], [True, False, True], id="a chain"),
        pytest.param([link(1, "b", "c"), link(2, "a", "b")], [True, True], id="a chain, the other way"),
        pytest.param([link(1, "a", "b"), link(2, "b", "a")], [True, False], id="both ways"),
    ],
)
def test_a_link_counts_unless_its_prior_side_has_a_place(links: list[Link], counts: list[bool]) -> None:
    for order in (links, links[::-1]):
        assert counting(order) == [link for link, counts_too in zip(links, counts, strict=True) if counts_too]


def test_of_one_timestamp_the_receipt_decides_then_the_id() -> None:
    later, first = Link((1, 6, 0), "a", "x"), Link((1, 5, 9), "a", "y")
    assert counting([later, first]) == [first]
    assert counting([Link((1, 5, 9), "a", "x"), Link((1, 5, 8), "a", "y")])[0].user == "y"
