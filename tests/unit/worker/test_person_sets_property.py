"""People are the connected components of the merges, whatever the order and however often an edge comes."""

from hypothesis import given
from hypothesis import strategies as st

from services.worker.identity.person_sets import Edge, Undone, people_of

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


@given(EDGES)
def test_people_are_the_connected_components(edges: list[Edge]) -> None:
    people = people_of(edges)
    assert set(people) == {member for edge in edges for member in edge}
    for members in components(edges):
        ((person, version),) = {people[member] for member in members}
        assert person in members
        assert version == len({edge for edge in edges if edge[0] in members})
        roots = members - {old for old, new in edges if old != new}
        assert person == min(roots or members)


@given(EDGES.flatmap(lambda edges: st.tuples(st.just(edges), st.permutations(edges + edges[: len(edges) // 2]))))
def test_order_and_repetition_change_nothing(orders: tuple[list[Edge], list[Edge]]) -> None:
    edges, shuffled = orders
    assert people_of(edges) == people_of(shuffled)


@given(EDGES, EDGES)
def test_more_merges_join_and_never_part_and_their_version_is_higher(edges: list[Edge], more: list[Edge]) -> None:
    before, after = people_of(edges), people_of(edges + more)
    for one, (person, version) in before.items():
        assert after[one][0] == after[person][0]
        if after[one][0] != person:
            assert after[one][1] > version


@given(EDGES)
def test_merges_in_any_grouping_lead_to_the_same_rows(edges: list[Edge]) -> None:
    """The row with the highest version counts: whoever knew all edges wins over whoever knew a part."""
    rows: dict[str, tuple[int, str]] = {}
    for upto in range(1, len(edges) + 1):
        for member, (person, version) in people_of(edges[:upto]).items():
            rows[member] = max(rows.get(member, (0, "")), (version, person))
    assert {member: person for member, (_, person) in rows.items()} == {
        member: person for member, (person, _) in people_of(edges).items()
    }


@given(EDGES, st.data())
def test_an_undone_edge_joins_nobody_and_the_version_rises(edges: list[Edge], data: st.DataObject) -> None:
    gone = set(data.draw(st.lists(st.sampled_from(edges), max_size=3))) if edges else set()
    before, after = people_of(edges), people_of(edges, {edge: Undone(False, 2) for edge in gone})
    left = people_of([edge for edge in edges if edge not in gone])
    assert set(after) == set(before)
    for one, (person, version) in after.items():
        assert person == (left[one][0] if one in left else one)
        assert version > before[one][1] if before[one][0] != person else version >= before[one][1]
    assert {one: person for one, (person, _) in people_of(edges, {edge: Undone(True, 3) for edge in gone}).items()} == {
        one: person for one, (person, _) in before.items()
    }
