"""A person's links and merges: which count, and why one does not."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType

from services.contract.api.persons import MAX_PERSON_LINKS, PersonLink, PersonMerge
from services.contract.links import Link, Moment, counting
from services.contract.tables import IDENTITY_LOG
from services.query.execution.executor import QueryExecutor
from services.query.sql.events import NOT_DELETED, not_deleted
from services.query.sql.persons import IDS_OF_PERSON
from services.runtime.clock import utc_time

# More are neither judged nor listed.
_MAX_ROWS = 200_000
EDGES_SQL = (
    "SELECT e.kind, e.old_id, e.distinct_id, toUnixTimestamp64Micro(e.timestamp), toUnixTimestamp64Micro(e.received_at), "
    f"toUInt128(e.event_id), e.old_id IN ({IDS_OF_PERSON}), e.distinct_id IN ({IDS_OF_PERSON}) "
    f"FROM {IDENTITY_LOG} AS e WHERE e.project_id = {{project:String}} AND e.old_id != '' AND {NOT_DELETED} "
    f"AND {not_deleted('e.old_hash')} AND (e.old_id IN ({IDS_OF_PERSON}) OR e.distinct_id IN ({IDS_OF_PERSON})) "
    f"ORDER BY e.timestamp DESC, e.received_at DESC, toUInt128(e.event_id) DESC LIMIT 1 BY e.event_id LIMIT {_MAX_ROWS}"
)


class _Said(NamedTuple):
    """A row of the log. `inside`: both ids are of the person."""

    kind: str
    link: Link
    old_is_inside: bool
    inside: bool


async def find_links(
    store: QueryExecutor, parameters: Mapping[str, Any]
) -> tuple[list[PersonLink], list[PersonMerge], list[str]]:
    """Of the person whose set id is {person}: links, merges and warnings."""
    said = [_said(row) for row in reversed(await store.rows(EDGES_SQL, parameters))]
    undone = _undone(said)
    links = [one for one in said if one.kind == "link"]
    merges = [one for one in said if one.kind not in ("link", "unmerge")]
    # Those that lead out of the person do not count, so they take nobody's place.
    counted = counting(one.link for one in links if one.inside and one.link not in undone)
    places: dict[str, Link] = {}
    for link in counted:
        places.setdefault(link.prior, link)
        places.setdefault(link.user, link)
    counts = set(counted)
    warnings = [
        f"the person has more than {MAX_PERSON_LINKS} {name}; the last ones are listed"
        for name, listed in (("links", links), ("merges", merges))
        if len(listed) > MAX_PERSON_LINKS
    ]
    return (
        [_link(one, one.link in counts, undone, places) for one in links[-MAX_PERSON_LINKS:]],
        [_merge(one.link, undone) for one in merges[-MAX_PERSON_LINKS:]],
        warnings,
    )


def _said(row: Sequence[Any]) -> _Said:
    kind, old_id, new_id, time_us, received_us, event_id, old_is_inside, new_is_inside = row
    link = Link((time_us, received_us, event_id), old_id, new_id)
    return _Said(kind, link, bool(old_is_inside), bool(old_is_inside and new_is_inside))


def _undone(said: Sequence[_Said]) -> dict[Link, Moment]:
    """What an unmerge of the same two ids, received later, has undone, and when that was."""
    last: dict[tuple[str, str], Moment] = {}
    for one in said:
        if one.kind == "unmerge":
            pair = one.link.prior, one.link.user
            last[pair] = max(one.link.at, last.get(pair, one.link.at), key=_by_receipt)
    pairs = [(one.link, last.get((one.link.prior, one.link.user))) for one in said if one.kind != "unmerge"]
    return {link: at for link, at in pairs if at is not None and _by_receipt(at) > _by_receipt(link.at)}


def _by_receipt(moment: Moment) -> tuple[int, int]:
    return moment[1], moment[2]


def _link(said: _Said, counts: bool, undone: Mapping[Link, Moment], places: Mapping[str, Link]) -> PersonLink:
    link = said.link
    reason: str | UnsetType = UNSET
    if link in undone:
        reason = _undone_reason(undone[link])
    elif not counts:
        reason = _reason(link, places.get(link.prior) if said.old_is_inside else None)
    return PersonLink(
        prior_id=link.prior,
        user_id=link.user,
        timestamp=utc_time(link.at[0]),
        received_at=utc_time(link.at[1]),
        counts=counts,
        reason=reason,
    )


def _reason(link: Link, earlier: Link | None) -> str:
    if earlier is None:
        return f"`{link.prior}` was linked to another user, or was a user itself, before."
    since = _text(utc_time(earlier.at[0]))
    if earlier.user == link.prior:
        return f"`{link.prior}` is a user itself, of `{earlier.prior}` since {since}."
    if earlier.user == link.user:
        return f"It was said before, at {since}."
    return f"`{link.prior}` is of `{earlier.user}` since {since}."


def _merge(link: Link, undone: Mapping[Link, Moment]) -> PersonMerge:
    return PersonMerge(
        old_id=link.prior,
        new_id=link.user,
        timestamp=utc_time(link.at[0]),
        received_at=utc_time(link.at[1]),
        counts=link not in undone,
        reason=_undone_reason(undone[link]) if link in undone else UNSET,
    )


def _undone_reason(moment: Moment) -> str:
    return f"An operator undid it at {_text(utc_time(moment[1]))}."


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
