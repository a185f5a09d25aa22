"""Which links count, against the oracle that sorts and folds."""

from hypothesis import given
from hypothesis import strategies as st

from services.contract.links import Link, counting

IDS = st.sampled_from("abcde")


@given(st.lists(st.tuples(st.integers(0, 5), IDS, IDS), max_size=12))
def test_only_the_first_of_a_prior_id_can_count(drawn: list[tuple[int, str, str]]) -> None:
    links = [Link((moment, i, 0), prior, user) for i, (moment, prior, user) in enumerate(drawn) if prior != user]
    first = {one.prior: one for one in sorted(links, reverse=True)}
    assert counting(links) == counting(first.values())
    for one in counting(links):
        assert first[one.prior] == one
