"""Who is who, by brute force: the messages of a project are sorted and folded. Knows nothing of the worker's code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Said:
    """`kind`: alias (a merge of `old` into `new`), link (`old` is the prior side, `new` the user), unmerge."""

    kind: str
    old: str
    new: str
    time: datetime
    received: datetime
    event_id: str

    @property
    def by_receipt(self) -> tuple[Any, ...]:
        return self.received, int(self.event_id.replace("-", ""), 16)

    @property
    def by_time(self) -> tuple[Any, ...]:
        return self.time, *self.by_receipt


def in_force(said: Sequence[Said]) -> list[Said]:
    """Merges and links that no unmerge of the same two ids, received later, has undone."""
    return [
        one
        for one in said
        if one.kind != "unmerge"
        and not any(
            (other.kind, other.old, other.new) == ("unmerge", one.old, one.new) and other.by_receipt > one.by_receipt
            for other in said
        )
    ]


def counting_links(said: Sequence[Said]) -> list[Said]:
    counted: list[Said] = []
    for link in sorted((one for one in in_force(said) if one.kind == "link"), key=lambda one: one.by_time):
        if not any(link.old in (before.old, before.new) for before in counted):
            counted.append(link)
    return counted


def people(said: Sequence[Said]) -> dict[str, str]:
    """The person of each id that was ever a side: sets are joined until nothing changes; the smallest id that was never
    absorbed names them, else the smallest."""
    joins = [one for one in in_force(said) if one.kind == "alias"] + counting_links(said)
    set_of = {one: {one} for each in said for one in (each.old, each.new)}
    for _ in set_of:
        for each in joins:
            joined = set_of[each.old] | set_of[each.new]
            for member in joined:
                set_of[member] = joined
    absorbed = {each.old for each in joins if each.old != each.new}
    return {one: min(members - absorbed or members) for one, members in set_of.items()}


def persons(found: Mapping[str, str], said: Sequence[Said]) -> dict[str, str]:
    """As `people` says it: an id that nothing joined may have no row."""
    return {one: found.get(one, one) for each in said for one in (each.old, each.new)}
