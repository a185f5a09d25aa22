"""Who is one person, of very many."""

from itertools import pairwise

from services.worker.identity.person_sets import canonical_ids


def test_a_long_chain_is_no_problem() -> None:
    names = [f"{n:06d}" for n in range(50_000)]
    edges = list(pairwise(names))
    for order in (edges, edges[::-1]):
        people = canonical_ids(order)
        assert set(people.values()) == {names[-1]}
        assert len(people) == 50_000
