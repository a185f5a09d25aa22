"""Computes sets as a whole, from the log: for what parts a set, or may have parted one for somebody who knew less.

A link that comes late, or an unmerge, may change which later links count, and so part what was together. Whose place may
change, the ids of that message, is in one of its sets before or after: so those sets are read, with all merges and links
of their ids, judged, and written. Where a merge or a counting link leads out of them, the set there belongs to it, too.
"""

from collections.abc import Iterable

from msgspec import Struct, field

from services.contract.links import Link, counting
from services.runtime.clickhouse import ClickHouse
from services.worker.identity.person_rows import PersonRow, StoredRow, epoch_at, person_row
from services.worker.identity.person_sets import Edge, recompute
from services.worker.identity.statements import FIRST_LINKS_SQL, MEMBERS_OF_SETS_SQL, MERGES_SQL, NOW_SQL, ROWS_SQL

# They travel in the address of the request.
IDS_AT_ONCE = 100


class _Region(Struct):
    """Ids of whole sets, what the log says of them, and the highest version of their rows."""

    ids: set[str] = field(default_factory=set)
    sets: set[int] = field(default_factory=set)
    merges: set[Edge] = field(default_factory=set)
    links: dict[str, Link] = field(default_factory=dict)
    versions: int = 0

    def edges(self) -> set[Edge]:
        """Merges, and the links that count, with at least one end among the ids.

        Of links between two sets none counts but those that this region is computed for, so it need not know others.
        """
        links = counting(link for prior, link in self.links.items() if prior in self.ids)
        merges = {edge for edge in self.merges if not self.ids.isdisjoint(edge)}
        return merges | {(link.prior, link.user) for link in links}


async def recomputed_rows(store: ClickHouse, project_id: str, touched: Iterable[str]) -> list[PersonRow]:
    """All rows of the sets of some ids, the ids' own sets among them, also where nothing changes: they must be newer than
    those of a writer that knew less. What they follow from is in the log before this is called."""
    # The time comes first: whoever asks later has read all that this has.
    ((now_ms,),) = await store.rows(NOW_SQL)
    region, edges, further = _Region(), set[Edge](), set(touched)
    while further:
        for ids in in_chunks(further):
            await _extend(store, project_id, region, ids)
        edges = region.edges()
        further = {end for edge in edges for end in edge} - region.ids
    epoch = epoch_at(now_ms, region.versions)
    sets = recompute(region.ids, edges, epoch)
    return [person_row(project_id, one, of_set, away) for of_set, members in sets for one, away in members.items()]


async def _extend(store: ClickHouse, project_id: str, region: _Region, ids: list[str]) -> None:
    """By the sets of some ids."""
    rows = [StoredRow(*row[1:]) for row in await store.rows(ROWS_SQL, {"project": project_id, "ids": ids})]
    sets = {row.person_hash for row in rows} - region.sets
    asked = {"project": project_id, "ids": ids, "sets": sorted(sets)}
    members = await store.rows(MEMBERS_OF_SETS_SQL, asked) if sets else []
    region.sets |= sets
    region.ids |= {*ids, *(row[0] for row in members)}
    region.versions = max([region.versions, *(row.version for row in rows), *(row[3] for row in members)])
    region.merges |= {(old_id, new_id) for old_id, new_id in await store.rows(MERGES_SQL, asked)}
    links = [Link(*row[0]) for row in await store.rows(FIRST_LINKS_SQL, asked)]
    region.links |= {link.prior: link for link in links}


def in_chunks(ids: Iterable[str]) -> list[list[str]]:
    ordered = sorted(ids)
    return [ordered[at : at + IDS_AT_ONCE] for at in range(0, len(ordered), IDS_AT_ONCE)]
