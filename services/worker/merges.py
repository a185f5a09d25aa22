"""Who is one person: sets of ids from merge edges. Pure. Any order of the same edges gives the same answer."""

from collections import defaultdict
from collections.abc import Iterable

Edge = tuple[str, str]


def people_of(edges: Iterable[Edge]) -> dict[str, tuple[str, int]]:
    """For each id on an edge (old id, new id): the person's id, and how many edges the person is made of.

    The person's id is the set's id that was never merged into another (the smallest such, where there are several;
    the smallest of all in a cycle), so that it depends on the edges alone, not on their order.
    """
    unique = set(edges)
    parent: dict[str, str] = {}
    for old_id, new_id in unique:
        parent[_root(parent, old_id)] = _root(parent, new_id)
    sets: defaultdict[str, list[str]] = defaultdict(list)
    for member in parent:
        sets[_root(parent, member)].append(member)
    counts: defaultdict[str, int] = defaultdict(int)
    for old_id, _ in unique:
        counts[_root(parent, old_id)] += 1
    merged_away = {old_id for old_id, new_id in unique if old_id != new_id}
    people = {}
    for root, members in sets.items():
        person = min([m for m in members if m not in merged_away] or members)
        for member in members:
            people[member] = (person, counts[root])
    return people


def _root(parent: dict[str, str], member: str) -> str:
    """The representative of a set; halves the path on the way, so that chains stay short."""
    parent.setdefault(member, member)
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member
