"""What the catalog says: events and numbers of groups as they were built, all else of a sample of the stored rows, at the
moment of the call.

Values are read where they lie, never kept a second time: what is deleted is in no catalog.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from services.contract.api.catalog import (
    MAX_CATALOG_NAMES,
    CatalogEvent,
    CatalogGroup,
    CatalogProperties,
    CatalogQuery,
    CatalogResult,
    CatalogTraits,
)
from services.contract.api.validation import refuse_nul
from services.contract.tables import CATALOG, CATALOG_GROUPS, CATALOG_TOTALS, IDENTITY_LOG
from services.query.catalog.sample import Object, folded, object_of, summary
from services.query.execution.executor import QueryExecutor
from services.query.request.decode import decode
from services.query.sql.events import EVENTS_WITH_DUPLICATES, NOT_DELETED, SHOWN
from services.runtime.at_once import at_once
from services.runtime.clock import utc_time

# Of an event so many are looked at, of each of its last days a part; of people and groups so many calls that say traits.
SAMPLE_EVENTS, SAMPLE_DAYS, SAMPLE_CALLS, SAMPLE_GROUP_TYPES = 500, 5, 2000, 10
# So many bytes of each sample: large objects make it smaller, and no result too large.
SAMPLE_BYTES = 4 * 1024 * 1024
# Among so many calls of a kind: most may say none, and there may be millions.
SEARCHED_CALLS = 10_000
_OF_PROJECT = "project_id = {project:String}"
_LAST = f"SELECT max(built) FROM {CATALOG_TOTALS} WHERE {_OF_PROJECT} AND event = ''"
# The row without a name is the first: it says when the others were built.
EVENTS_SQL = (
    "SELECT event, events, people, toUnixTimestamp64Micro(first_seen), toUnixTimestamp64Micro(last_seen), built "
    f"FROM {CATALOG_TOTALS} FINAL WHERE {_OF_PROJECT} AND built = ({_LAST}) "
    "AND (event = '' OR positionCaseInsensitiveUTF8(event, {search:String}) > 0) "
    "ORDER BY event != '', events DESC, event LIMIT {limit:UInt32} + 1"
)
# Also days of which it was deleted since: nothing is found there then.
DAYS_SQL = (
    f"SELECT DISTINCT day FROM {CATALOG} WHERE {_OF_PROJECT} AND event = {{event:String}} "
    f"ORDER BY day DESC LIMIT {SAMPLE_DAYS}"
)
# The first of each day in the order of ids: reading stops there.
_FIRST_OF_DAY = (
    "SELECT e.properties AS properties, e.distinct_hash AS distinct_hash, e.timestamp AS timestamp, "
    f"e.received_at AS received_at FROM {EVENTS_WITH_DUPLICATES} WHERE e.project_id = {{project:String}} "
    "AND toDate(e.timestamp) = {%s:Date} AND e.event = {event:String} "
    f"LIMIT 1 BY e.event_id LIMIT {SAMPLE_EVENTS // SAMPLE_DAYS:d}"
)


def _within(rows: str, size: str) -> str:
    """The first rows that have SAMPLE_BYTES, with the one that ends them, and how many bytes there are up to each. `size`: SQL of
    a row's bytes."""
    so_far = f"sum({size}) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far"
    return f"SELECT * FROM (SELECT *, {so_far} FROM ({rows})) WHERE so_far - ({size}) <= {SAMPLE_BYTES:d}"


# What may be shown of them: asked once, for in each day it would cost more than the reading.
_SHOWN_OF_DAYS = f"SELECT e.properties AS properties FROM (%s) AS e WHERE {SHOWN}"
_SAMPLE = f"{_within(_SHOWN_OF_DAYS, 'length(properties)')} SETTINGS max_threads = 1, max_block_size = 1024"


def _calls_with_traits(*searched: str) -> str:
    """Of the calls found in each search. One thread: it stops where enough are found."""
    found = (
        f"SELECT * FROM ({' UNION ALL '.join(searched)}) WHERE traits NOT IN ('', '{{}}') OR set_once NOT IN ('', '{{}}') "
        f"LIMIT {SAMPLE_CALLS}"
    )
    return f"{_within(found, 'length(traits) + length(set_once)')} SETTINGS max_threads = 1, max_block_size = 2048"


def _first_calls(who: str, of_kind: str) -> str:
    """In the order of the log's key, whatever parts they are in: all calls of a person are beside each other, and what nobody
    in particular said of a group is first. The key's columns that are equal for all are left out, which halves the time."""
    return (
        f"SELECT {who} AS who, toUnixTimestamp64Micro(e.timestamp) AS time, toUnixTimestamp64Micro(e.received_at) AS received, "
        f"toUInt128(e.event_id) AS id, e.traits AS traits, e.set_once AS set_once FROM {IDENTITY_LOG} AS e "
        f"WHERE e.project_id = {{project:String}} AND {NOT_DELETED} AND {of_kind} "
        f"ORDER BY e.distinct_id, e.event_id LIMIT {SEARCHED_CALLS}"
    )


# Each kind by itself: many calls of one that say nothing do not hide those of the other.
PEOPLE_SQL = _calls_with_traits(*[_first_calls("e.distinct_id", f"e.kind = '{kind}'") for kind in ("identify", "link")])
GROUP_SQL = _calls_with_traits(_first_calls("e.group_key", "e.kind = 'group' AND e.group_type = {type:String}"))
GROUPS_SQL = (
    f"SELECT group_type, groups FROM {CATALOG_GROUPS} FINAL WHERE {_OF_PROJECT} AND groups > 0 "
    "AND positionCaseInsensitiveUTF8(group_type, {search:String}) > 0 ORDER BY groups DESC, group_type "
    f"LIMIT {SAMPLE_GROUP_TYPES}"
)


def parse_catalog(body: bytes) -> tuple[CatalogQuery, list[str]]:
    """Raises ApiError. No body asks for everything."""
    query, warnings = decode(body or b"{}", CatalogQuery)
    refuse_nul(query.event, "event")
    refuse_nul(query.search, "search")
    return query, warnings


async def read_catalog(store: QueryExecutor, project_id: str, query: CatalogQuery, *, building: bool) -> CatalogResult:
    search, limit = query.search or "", query.limit or MAX_CATALOG_NAMES
    parameters = {"project": project_id, "search": search, "limit": limit}
    async with at_once() as tasks:
        totals = tasks.create_task(store.rows(EVENTS_SQL, parameters))
        calls = tasks.create_task(store.rows(PEOPLE_SQL, parameters))
        groups = tasks.create_task(_groups(store, parameters, limit))
        properties = None
        if query.event is not None:
            properties = tasks.create_task(_properties(store, parameters, query.event, search, limit))
    (*_, built), *events = totals.result() or [(0,)]
    people = _traits(calls.result())
    return CatalogResult(
        built_at=utc_time(built) if built else None,
        building=building,
        events=[_event(row) for row in events],
        people=CatalogTraits(sample=len(people), traits=summary(people, search, limit)),
        groups=groups.result(),
        properties=properties.result() if properties else UNSET,
    )


async def _groups(store: QueryExecutor, parameters: Mapping[str, Any], limit: int) -> list[CatalogGroup]:
    types = await store.rows(GROUPS_SQL, parameters)
    async with at_once() as tasks:
        samples = [
            tasks.create_task(store.rows(GROUP_SQL, {**parameters, "type": group_type})) for group_type, _ in types
        ]
    found = []
    for (group_type, number), sample in zip(types, samples, strict=True):
        groups = _traits(sample.result())
        traits = summary(groups, "", limit)
        found.append(CatalogGroup(group_type=group_type, groups=number, sample=len(groups), traits=traits))
    return found


async def _properties(
    store: QueryExecutor, parameters: Mapping[str, Any], event: str, search: str, limit: int
) -> CatalogProperties:
    days = {f"day{i:d}": day for i, (day,) in enumerate(await store.rows(DAYS_SQL, {**parameters, "event": event}))}
    objects: list[Object] = []
    if days:
        firsts = " UNION ALL ".join(_FIRST_OF_DAY.replace("%s", name) for name in days)
        rows = await store.rows(_SAMPLE.replace("%s", firsts), {**parameters, **days, "event": event})
        objects = [object_of(text) for text, _ in rows]
    return CatalogProperties(event=event, sample=len(objects), properties=summary(objects, search, limit))


def _event(row: Sequence[Any]) -> CatalogEvent:
    event, events, people, first_us, last_us, _ = row
    return CatalogEvent(
        event=event, events=events, people=people, first_seen=utc_time(first_us), last_seen=utc_time(last_us)
    )


def _traits(rows: Sequence[Sequence[Any]]) -> list[Object]:
    """Of each person or group in the rows."""
    calls: defaultdict[str, dict[Any, tuple[str, str]]] = defaultdict(dict)
    for who, time, received, event_id, traits, once, _ in rows:
        calls[who][time, received, event_id] = (traits, once)
    is_cut = len(rows) == SAMPLE_CALLS or (rows and rows[-1][-1] > SAMPLE_BYTES)
    if is_cut and len(calls) > 1:
        calls.popitem()  # there may be more of the last one
    return [folded(said for _, said in sorted(of_one.items())) for of_one in calls.values()]
