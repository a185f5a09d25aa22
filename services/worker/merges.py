"""Who is one person: sets of ids from merge edges. Pure. Any order of the same edges gives the same answer."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Edge = tuple[str, str]


class Undone(NamedTuple):
    """An edge that was ever unmerged: whether it is in force again, and how many rows the log has about it."""

    in_force: bool
    rows: int


def people_of(edges: Iterable[Edge], undone: Mapping[Edge, Undone] | None = None) -> dict[str, tuple[str, int]]:
    """For each id on an edge (old id, new id): the person's id, and a version that grows with what is known.

    The person's id is the set's id that was never merged into another (the smallest such, where there are several;
    the smallest of all in a cycle), so that it depends on the edges alone, not on their order. `undone` edges that
    are not in force join nobody. The version is the number of edges that the ids ever hung together by, and of the
    rows about those that were unmerged: it never falls, and rises with every row that may change who is who.
    """
    unique, undone = set(edges), undone or {}
    in_force = [edge for edge in unique if edge not in undone or undone[edge].in_force]
    families, people = _sets(unique, unique), _sets(unique, in_force)
    versions: defaultdict[str, int] = defaultdict(int)
    for edge in unique:
        versions[_root(families, edge[0])] += 1 + (undone[edge].rows if edge in undone else 0)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for member in people:
        members[_root(people, member)].append(member)
    merged_away = {old_id for old_id, new_id in in_force if old_id != new_id}
    found = {}
    for of_person in members.values():
        person = min([m for m in of_person if m not in merged_away] or of_person)
        version = versions[_root(families, person)]
        for member in of_person:
            found[member] = (person, version)
    return found


def _sets(ids_on: Iterable[Edge], joined_by: Iterable[Edge]) -> dict[str, str]:
    """All ids, each with a parent in its set."""
    parent = {member: member for edge in ids_on for member in edge}
    for old_id, new_id in joined_by:
        parent[_root(parent, old_id)] = _root(parent, new_id)
    return parent


def _root(parent: dict[str, str], member: str) -> str:
    """The representative of a set; halves the path on the way, so that chains stay short."""
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member
