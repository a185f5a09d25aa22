"""People are the connected components of what joins ids, whatever the order and however often an edge comes."""

from hypothesis import given
from hypothesis import strategies as st

from services.worker.identity.person_rows import epoch_at, person_row
from services.worker.identity.person_sets import Edge, PersonSet, alone, canonical_ids, join, recompute

IDS = st.sampled_from("abcdefghij")
EDGES = st.lists(st.tuples(IDS, IDS), max_size=25)


def components(edges: list[Edge]) -> list[set[str]]:
    """By brute force: join sets until nothing changes."""
    sets = [set(edge) for edge in edges]
    joined = True
    while joined:
        joined = False
        for i, one in enumerate(sets):
            for other in sets[i + 1 :]:
                if one & other:
                    one |= other
                    sets.remove(other)
                    joined = True
                    break
            if joined:
                break
    return sets


def sets_of(edges: list[Edge], epoch: int = 0) -> dict[str, PersonSet]:
    return {member: one for one, members in recompute((), edges, epoch) for member in members}


@given(EDGES)
def test_people_are_the_connected_components(edges: list[Edge]) -> None:
    people = canonical_ids(edges)
    assert set(people) == {member for edge in edges for member in edge}
    for members in components(edges):
        (person,) = {people[member] for member in members}
        absorbed = members & {old for old, new in edges if old != new}
        assert person == min(members - absorbed or members)
        (one,) = {sets_of(edges)[member].set_id: sets_of(edges)[member] for member in members}.values()
        assert (one.roots, one.least) == (len(members - absorbed), min(members))
        assert one.size == len(members) - 1 + len(absorbed)


@given(EDGES.flatmap(lambda edges: st.tuples(st.just(edges), st.permutations(edges + edges[: len(edges) // 2]))))
def test_order_and_repetition_change_nothing(orders: tuple[list[Edge], list[Edge]]) -> None:
    edges, shuffled = orders
    assert sets_of(edges) == sets_of(shuffled)


@given(EDGES, EDGES)
def test_more_edges_join_and_never_part_and_their_version_is_higher(edges: list[Edge], more: list[Edge]) -> None:
    before, after = sets_of(edges), sets_of(edges + more)
    for one, of_set in before.items():
        assert after[one].set_id == after[of_set.set_id].set_id
        if after[one] != of_set:
            assert after[one].size > of_set.size


@given(EDGES, EDGES)
def test_joining_step_by_step_leads_to_what_is_computed_as_a_whole(edges: list[Edge], more: list[Edge]) -> None:
    before, after = sets_of(edges, 7), sets_of(edges + more, 7)
    ends = {end for edge in more for end in edge}
    absorbed = {old for old, new in edges if old != new}
    for joined in join(set(more), {end: before.get(end, alone(end)) for end in ends}, absorbed & ends):
        left = {member for member in after if member in before and before[member].set_id in joined.unnamed}
        roots = left - absorbed - joined.absorbed
        found = {s: min(root for root in roots if before[root].set_id == s) for s in joined.unnamed}
        one = joined.person_set(found)
        whole = after[one.set_id]
        assert (one.canonical_id, one.least, one.roots, one.size) == (
            whole.canonical_id,
            whole.least,
            whole.roots,
            whole.size,
        )


@given(st.integers(0, 2**40 - 2), st.integers(0, 2**41), st.integers(0, 2**60))
def test_whatever_is_computed_as_a_whole_is_newer_than_what_it_replaces(now: int, later: int, versions: int) -> None:
    """Also where the clock went back. And a set that was joined since is older than one that is computed later."""
    one = PersonSet("a", "a", "a", 1, epoch_at(1_577_836_800_000 + now, versions), 0)
    version = person_row("shop", "a", one, False).version
    assert versions < version < 2**64
    grown = PersonSet("a", "a", "a", 1, one.epoch, 2**30)
    again = PersonSet("a", "a", "a", 1, epoch_at(later, person_row("shop", "a", grown, False).version), 0)
    assert person_row("shop", "a", again, False).version > person_row("shop", "a", grown, False).version
