"""Who is one person: sets of ids that merges and counting links join. Pure. Any order of the same edges gives the same answer.

A set has an id and a canonical id. The canonical id is the person's: the set's id that was never absorbed, which is to say
merged or linked into another. It changes whenever that id is absorbed, so rows do not carry it: they carry the set id,
the id whose hash is the smallest of the set. When two sets become one, the larger one seldom has to take the other's set
id: with random hashes, once in (size of both / size of the smaller) times. So n merges, in any order, rewrite
O(n log n) rows.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct
from xxhash import xxh3_64_intdigest

# (old id, new id): the old one is absorbed.
Edge = tuple[str, str]


class PersonSet(Struct, frozen=True):
    """One set. `roots`: how many of its ids were never absorbed; `canonical_id` is the smallest of them, in a cycle the
    smallest of all, `least`.

    Of two writers' sets the one that knows more has the higher version: `epoch` says when a set was last computed as a
    whole (see IdentityStore), `size` counts its ids but one, and those that were absorbed. Sets only grow until they are
    computed as a whole again, so the size depends on what is known, not on the order in which it became known.
    """

    set_id: str
    canonical_id: str
    least: str
    roots: int
    epoch: int
    size: int


class Joined(Struct, frozen=True):
    """Sets (`before`, that of the set id among them) that become one. `absorbed`: those of its ids that are from now on.

    `unnamed`: the set ids of those that lose their canonical id and have other roots: the smallest must be looked up.
    """

    before: list[PersonSet]
    set_id: str
    absorbed: set[str]
    unnamed: list[str]

    def person_set(self, found: Mapping[str, str]) -> PersonSet:
        """`found`: by set id of the `unnamed`, its smallest root that is left."""
        roots = sum(one.roots for one in self.before) - len(self.absorbed)
        least = min(one.least for one in self.before)
        named = [one.canonical_id for one in self.before if one.roots and one.canonical_id not in self.absorbed]
        named += [found[set_id] for set_id in self.unnamed]
        size = sum(one.size for one in self.before) + len(self.before) - 1 + len(self.absorbed)
        epoch = max(one.epoch for one in self.before)
        return PersonSet(self.set_id, min(named) if roots else least, least, roots, epoch, size)


def alone(distinct_id: str) -> PersonSet:
    """An id that nothing ever joined."""
    return PersonSet(distinct_id, distinct_id, distinct_id, 1, 0, 0)


def set_id_of(ids: Iterable[str]) -> str:
    return min(ids, key=lambda one: (xxh3_64_intdigest(one.encode()), one))


def join(edges: Collection[Edge], sets: Mapping[str, PersonSet], absorbed: Collection[str]) -> list[Joined]:
    """What edges change. `sets`: the set of each end of an edge; `absorbed`: ends that were absorbed before."""
    by_id = {one.set_id: one for one in sets.values()}
    parents = _parents([(one, one) for one in by_id], [(sets[old].set_id, sets[new].set_id) for old, new in edges])
    before: defaultdict[str, list[PersonSet]] = defaultdict(list)
    for set_id, one in by_id.items():
        before[_root(parents, set_id)].append(one)
    gone: defaultdict[str, set[str]] = defaultdict(set)
    roots_gone: defaultdict[str, int] = defaultdict(int)
    for old_id in {old for old, new in edges if old != new and old not in absorbed}:
        gone[_root(parents, sets[old_id].set_id)].add(old_id)
        roots_gone[sets[old_id].set_id] += 1
    return [
        Joined(
            before=joined,
            set_id=set_id_of(one.set_id for one in joined),
            absorbed=gone[root],
            unnamed=[
                one.set_id for one in joined if one.roots > roots_gone[one.set_id] and one.canonical_id in gone[root]
            ],
        )
        for root, joined in before.items()
    ]


def recompute(ids: Iterable[str], edges: Collection[Edge], epoch: int = 0) -> list[tuple[PersonSet, dict[str, bool]]]:
    """Each set of `ids` and the ends of `edges`, and of each of its ids whether it was absorbed."""
    parents = _parents([*((one, one) for one in ids), *edges], edges)
    absorbed = {old_id for old_id, new_id in edges if old_id != new_id}
    sets: defaultdict[str, list[str]] = defaultdict(list)
    for member in parents:
        sets[_root(parents, member)].append(member)
    found = []
    for members in sets.values():
        roots = [member for member in members if member not in absorbed]
        least, size = min(members), 2 * len(members) - 1 - len(roots)
        canonical_id = min(roots) if roots else least
        one = PersonSet(set_id_of(members), canonical_id, least, len(roots), epoch, size)
        found.append((one, {member: member in absorbed for member in members}))
    return found


def canonical_ids(edges: Collection[Edge]) -> dict[str, str]:
    """The person of each end of an edge."""
    return {member: one.canonical_id for one, members in recompute((), edges) for member in members}


def _parents(ids_on: Iterable[Edge], joined_by: Iterable[Edge]) -> dict[str, str]:
    """All ids, each with a parent in its set."""
    parents = {member: member for edge in ids_on for member in edge}
    for old_id, new_id in joined_by:
        parents[_root(parents, old_id)] = _root(parents, new_id)
    return parents


def _root(parents: dict[str, str], member: str) -> str:
    """The representative of a set; halves the path on the way, so that chains stay short."""
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member
