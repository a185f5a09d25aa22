"""Who is one person: sets of ids from merge edges. Pure. Any order of the same edges gives the same answer.

A set has a key and a name. The name is the person's id: the set's id that was never merged into another. It changes
whenever that id is merged into another one, so rows do not carry it: they carry the key, the id whose hash is the
smallest of the set. When two sets become one, the larger one seldom has to take the other's key: with random hashes, once in
(size of both / size of the smaller) times. So n merges, in any order, rewrite O(n log n) rows.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct
from xxhash import xxh3_64_intdigest

Edge = tuple[str, str]


class Undone(NamedTuple):
    """An edge that was ever unmerged: whether it is in force again, and how many rows the log has about it."""

    in_force: bool
    rows: int


class PersonSet(Struct, frozen=True):
    """One set. `roots`: how many of its ids were never merged into another; `name` is the smallest of them, in a cycle
    the smallest of all, `least`. `version` counts what made the set, see `join`."""

    key: str
    name: str
    least: str
    roots: int
    version: int


class Joined(Struct, frozen=True):
    """Sets (`before`, the key's among them) that become one. `merged_away`: those of its ids that are from now on.

    `unnamed`: the keys of those that lose their name and have other roots: the smallest of them must be looked up.
    """

    before: list[PersonSet]
    key: str
    merged_away: set[str]
    unnamed: list[str]
    version: int

    def people(self, found: Mapping[str, str]) -> PersonSet:
        """`found`: by key of the `unnamed`, its smallest root that is left."""
        roots = sum(people.roots for people in self.before) - len(self.merged_away)
        least = min(people.least for people in self.before)
        names = [p.name for p in self.before if p.roots and p.name not in self.merged_away]
        names += [found[key] for key in self.unnamed]
        return PersonSet(self.key, min(names) if roots else least, least, roots, self.version)


def alone(distinct_id: str) -> PersonSet:
    """An id that was never merged."""
    return PersonSet(distinct_id, distinct_id, distinct_id, 1, 0)


def key_of(ids: Iterable[str]) -> str:
    return min(ids, key=lambda one: (xxh3_64_intdigest(one.encode()), one))


def join(edges: Collection[Edge], people: Mapping[str, PersonSet], away: Collection[str]) -> list[Joined]:
    """What edges change. `people`: the set of each end of an edge; `away`: ends that were merged into another before.

    The version of a set is the number of its ids but one, and of those that were merged into another: it rises with
    everything that changes the set, and depends on what is known, not on the order in which it became known.
    """
    sets = {one.key: one for one in people.values()}
    roots = _sets([(key, key) for key in sets], [(people[old].key, people[new].key) for old, new in edges])
    before: defaultdict[str, list[PersonSet]] = defaultdict(list)
    for key, one in sets.items():
        before[_root(roots, key)].append(one)
    gone: defaultdict[str, set[str]] = defaultdict(set)
    roots_gone: defaultdict[str, int] = defaultdict(int)
    for old_id in {old for old, new in edges if old != new and old not in away}:
        gone[_root(roots, people[old_id].key)].add(old_id)
        roots_gone[people[old_id].key] += 1
    return [
        Joined(
            before=joined,
            key=key_of(one.key for one in joined),
            merged_away=gone[root],
            unnamed=[p.key for p in joined if p.roots > roots_gone[p.key] and p.name in gone[root]],
            version=sum(one.version for one in joined) + len(joined) - 1 + len(gone[root]),
        )
        for root, joined in before.items()
    ]


def people_of(edges: Iterable[Edge], undone: Mapping[Edge, Undone] | None = None) -> dict[str, tuple[str, int]]:
    """For each id on an edge (old id, new id): the person's id, and a version that grows with what is known.

    The person's id is the set's id that was never merged into another (the smallest such, where there are several;
    the smallest of all in a cycle), so that it depends on the edges alone, not on their order. `undone` edges that
    are not in force join nobody. The version is the number of edges that the ids ever hung together by, and of the
    rows about those that were unmerged: it never falls, and rises with every row that may change who is who.
    """
    unique, undone = set(edges), undone or {}
    in_force = _in_force(unique, undone)
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


def recompute(edges: Iterable[Edge], undone: Mapping[Edge, Undone]) -> list[tuple[PersonSet, dict[str, bool]]]:
    """Each set, and of each of its ids whether it was merged into another, from all edges around. The version is
    higher than any that `join` came to with the same edges or some of them, if one was ever undone; else not lower."""
    edges = set(edges)
    away = {old_id for old_id, new_id in _in_force(edges, undone) if old_id != new_id}
    by_person: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for member, person in people_of(edges, undone).items():
        by_person[person].append(member)
    found = []
    for (name, version), members in by_person.items():
        roots = sum(member not in away for member in members)
        people = PersonSet(key_of(members), name, min(members), roots, 2 * version)
        found.append((people, {member: member in away for member in members}))
    return found


def _in_force(edges: Iterable[Edge], undone: Mapping[Edge, Undone]) -> list[Edge]:
    return [edge for edge in edges if edge not in undone or undone[edge].in_force]


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
