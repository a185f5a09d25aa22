"""Builds the catalog in the background, from the stored rows: of events day by day, and how many groups there are.

every few seconds: have the parts of the events table, the deleted ids, or what has expired, changed since?
of what has changed, month by month: how many rows has each day of each project, and what is their checksum?
where the catalog says something else: that day is built again
have the parts of the identity log, or the deleted ids, changed since? groups are counted again

Nothing but the tables decides what is to be built. So it does not matter who inserts, deletes or merges, nor how many query
services build: what one has built is up to date for the others.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from msgspec import Struct
from prometheus_client import Histogram

from services.contract.tables import (
    CATALOG,
    CATALOG_GROUPS,
    CATALOG_TOTALS,
    DELETED_IDS,
    EVENTS,
    EXPIRED,
    IDENTITY_LOG,
    SHARDED,
)
from services.query.sql.events import (
    EVENTS_ONCE,
    EVENTS_WITH_DUPLICATES,
    NONE_EXPIRED,
    NOT_DELETED,
    with_joined_deletions,
)
from services.query.sql.events import SETTINGS as EVENTS_SETTINGS
from services.query.sql.persons import JOIN_PERSONS, PERSON
from services.runtime.at_once import at_once
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.cluster import on_replicas, own_table
from services.runtime.logs import get_logger

log = get_logger(__name__)

BUILD_SECONDS = Histogram(
    "headrace_query_catalog_build_duration_seconds",
    "From the start of a look at what has changed until the catalog is built.",
    buckets=(0.01, 0.1, 1, 10, 60, 600, 3600),
)
# A pass is followed by a pause of so many times its length, up to so long: building takes a sixth of a core, where passes
# take longer than half a minute a part that grows.
_PAUSES, _MAX_PAUSE_S = 5, 150.0
# Queries of people come first.
_SETTINGS = {
    "max_threads": 1,
    "max_memory_usage": 1024**3,
    "max_bytes_before_external_group_by": 256 * 1024**2,
    "priority": 10,
    **EVENTS_SETTINGS,
}
_WHO_ANSWERS = {"skip_unavailable_shards": 1}


def parts_sql(store: ClickHouse, table: str) -> str:
    """By month, where the table has months: what a change of its parts changes. On a cluster those of all replicas that answer, of
    a table that is spread over the shards. What is whole on every node is read where we ask: that server's parts change with it."""
    spread = store.cluster if table in SHARDED else ""
    number = "_shard_num" if spread else "0"
    return (
        f"SELECT partition, count(), groupBitXor(cityHash64({number}, name)) "
        f"FROM {on_replicas(spread, 'system.parts')} WHERE database = '{store.database}' "
        f"AND table = '{own_table(table, store.cluster)}' AND active GROUP BY partition"
    )


DELETED_SQL = f"SELECT project_id, count(), max(before) FROM {DELETED_IDS} GROUP BY project_id"
EXPIRED_SQL = f"SELECT project_id, toYYYYMM(max(kept_since)), max(kept_since) FROM {EXPIRED} GROUP BY project_id"
# As the tables say it now: what is built must be what they say when it is found to be up to date.
_SHOWN = f"{NOT_DELETED} AND {NONE_EXPIRED}"
_OF_MONTH = "toYYYYMM(e.timestamp) = {month:UInt32}"
# Of each day: how many rows, and a sum that other rows would not have.
_DAYS = (
    "SELECT e.project_id, toDate(e.timestamp) AS day, count(), "
    "sum(cityHash64(toUnixTimestamp64Micro(e.timestamp), toUnixTimestamp64Micro(e.received_at))) "
    f"FROM {EVENTS_WITH_DUPLICATES} WHERE {_OF_MONTH} AND "
)
_DAYS_OF_OTHERS = (
    f"{_DAYS} e.project_id NOT IN {{projects:Array(String)}} AND {NONE_EXPIRED} GROUP BY e.project_id, day"
)
_DAYS_OF_PROJECT = with_joined_deletions(
    f"{_DAYS} e.project_id = {{project:String}} AND {_SHOWN} GROUP BY e.project_id, day"
)
_BUILT = (
    f"SELECT project_id, day, rows, checksum FROM {CATALOG} FINAL WHERE event = '' AND toYYYYMM(day) = {{month:UInt32}}"
)
# One statement, and one part: a day is the old one or the new one.
_BUILD = with_joined_deletions(
    f"INSERT INTO {CATALOG} SELECT {{project:String}}, toString(e.event) AS name, {{day:Date}}, {{built:UInt64}}, "
    f"{{rows:UInt64}}, {{checksum:UInt64}}, count(), uniqCombinedState(12)({PERSON}), min(e.timestamp), max(e.timestamp) "
    f"FROM {EVENTS_ONCE} {JOIN_PERSONS} WHERE e.project_id = {{project:String}} AND toDate(e.timestamp) = {{day:Date}} "
    f"AND {_SHOWN} GROUP BY GROUPING SETS ((name), ())"
)
_EMPTY = f"INSERT INTO {CATALOG} (project_id, day, built) SELECT {{project:String}}, {{day:Date}}, {{built:UInt64}}"

# A row counts while its day was not built since.
_CURRENT = (
    f"FROM {CATALOG} FINAL WHERE project_id = {{project:String}} AND event != '' AND (day, built) IN "
    f"(SELECT day, built FROM {CATALOG} FINAL WHERE project_id = {{project:String}} AND event = '' AND rows > 0)"
)
_TOTAL = (
    f"INSERT INTO {CATALOG_TOTALS} SELECT {{project:String}}, event, {{built:UInt64}}, sum(events), "
    f"uniqCombinedMerge(12)(people), min(first_seen), max(last_seen) {_CURRENT} GROUP BY event UNION ALL "
    "SELECT {project:String}, '', {built:UInt64}, 0, 0, toDateTime64(0, 6, 'UTC'), toDateTime64(0, 6, 'UTC')"
)
# Of days that a service left behind, which was stopped before their totals.
_NOT_TOTALLED = (
    f"SELECT project_id FROM (SELECT project_id, max(built) AS last FROM {CATALOG} WHERE event = '' GROUP BY project_id) "
    f"AS d LEFT JOIN (SELECT project_id, max(built) AS last FROM {CATALOG_TOTALS} WHERE event = '' GROUP BY project_id) AS t "
    "ON t.project_id = d.project_id WHERE d.last > t.last"
)


def _count_groups(calls: str, before: str) -> str:
    """Adds a row for each type of which the number is not what it was: 0 where none is left. Conditions on the log, `e`, and
    on what was counted before."""
    return (
        f"INSERT INTO {CATALOG_GROUPS} SELECT project, type, {{built:UInt64}}, sum(counted) AS number FROM ("
        "SELECT toString(e.project_id) AS project, toString(e.group_type) AS type, uniqCombined(12)(e.group_key) AS counted, "
        f"0 AS before FROM {IDENTITY_LOG} AS e WHERE e.kind = 'group' AND {calls} GROUP BY project, type UNION ALL "
        f"SELECT project_id, group_type, 0, groups FROM {CATALOG_GROUPS} FINAL WHERE {before}"
        ") GROUP BY project, type HAVING number != sum(before)"
    )


_GROUPS_OF_OTHERS = _count_groups(
    "e.project_id NOT IN {projects:Array(String)}", "project_id NOT IN {projects:Array(String)}"
)
_GROUPS_OF_PROJECT = with_joined_deletions(
    _count_groups(f"e.project_id = {{project:String}} AND {NOT_DELETED}", "project_id = {project:String}")
)

Fingerprint = Mapping[str, Sequence[Any]]


class _Look(Struct, frozen=True):
    """What the tables were like: parts of events and of the log of calls; deletions and what has expired by project."""

    events: Fingerprint = {}
    calls: Fingerprint = {}
    deleted: Fingerprint = {}
    expired: Fingerprint = {}


class _Day(Struct, frozen=True, order=True):
    day: date
    project_id: str
    rows: int
    checksum: int


class CatalogBuilder:
    """Belongs to one event loop. Knows in memory what the tables were like at its last look; forgotten, all is compared once."""

    def __init__(self, store: ClickHouse, every_s: float) -> None:
        self._store = store
        self._every_s = every_s
        self._seen: _Look | None = None
        self._totalled = False

    async def build_forever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                with BUILD_SECONDS.time():
                    built = await self.build()
                if built:
                    log.info("catalog_built", days=built)
            except StoreError as error:
                log.warning("catalog_not_built", reason=str(error)[:500])
            pause_s = min(_PAUSES * (time.monotonic() - began), _MAX_PAUSE_S)
            await asyncio.sleep(max(self._every_s, pause_s))

    async def build(self) -> int:
        """Compare what has changed, build what differs; how many days. Raises StoreError, and goes on from there next time."""
        now, before = await self._look(), self._seen or _Look()
        with_deletions = sorted(now.deleted)
        changed_projects = [one for one in with_deletions if now.deleted.get(one) != before.deleted.get(one)]
        if self._seen is None or now.calls != before.calls:
            await self._build_groups(with_deletions, others=True)
        else:
            await self._build_groups(changed_projects, others=False)
        months_expired = _months_between(before.expired, now.expired)
        built = 0
        for month in sorted({*now.events, *before.events}, reverse=True):
            is_changed = now.events.get(month) != before.events.get(month)
            if self._seen is None or is_changed or months_expired(int(month)):
                built += await self._build_month(int(month), with_deletions, others=True)
            elif changed_projects:
                built += await self._build_month(int(month), changed_projects, others=False)
        if not self._totalled:
            for (project,) in await self._store.rows(_NOT_TOTALLED):
                parameters = {"project": project, "built": time.time_ns() // 1000}
                await self._store.command(_TOTAL, parameters, _SETTINGS)
            self._totalled = True
        self._seen = now
        return built

    async def is_up_to_date(self) -> bool:
        """Whether all that is stored now is built."""
        return self._seen is not None and await self._look() == self._seen

    async def _look(self) -> _Look:
        asked = parts_sql(self._store, EVENTS), parts_sql(self._store, IDENTITY_LOG), DELETED_SQL, EXPIRED_SQL
        async with at_once() as tasks:
            # A replica that is away has other parts when it is back: then all is compared again.
            answers = [tasks.create_task(self._store.rows(sql, settings=_WHO_ANSWERS)) for sql in asked]
        return _Look(*[{row[0]: row[1:] for row in answer.result()} for answer in answers])

    async def _build_groups(self, projects: Sequence[str], *, others: bool) -> None:
        """Of these projects, which have deleted ids; and of all `others`, which have none."""
        built = time.time_ns() // 1000
        if others:
            parameters = {"projects": list(projects), "built": built}
            await self._store.command(_GROUPS_OF_OTHERS, parameters, _SETTINGS)
        for project in projects:
            await self._store.command(_GROUPS_OF_PROJECT, {"project": project, "built": built}, _SETTINGS)

    async def _build_month(self, month: int, projects: Sequence[str], *, others: bool) -> int:
        """Of these projects, which have deleted ids; and of all `others`, which have none."""
        found: list[_Day] = []
        if others:
            found += await self._days(_DAYS_OF_OTHERS, {"month": month, "projects": list(projects)})
        for project in projects:
            found += await self._days(_DAYS_OF_PROJECT, {"month": month, "project": project})
        there = {
            (day, project): (rows, checksum)
            for project, day, rows, checksum in await self._store.rows(_BUILT, {"month": month})
            if others or project in projects
        }
        stale = [one for one in found if there.get((one.day, one.project_id)) != (one.rows, one.checksum)]
        present = {(one.day, one.project_id) for one in found}
        gone = [key for key, (rows, _) in there.items() if rows and key not in present]
        if stale or gone:
            self._totalled = False
        for one in sorted(stale, reverse=True):
            await self._build_day(one)
        for day, project in gone:
            parameters = {"project": project, "day": day, "built": time.time_ns() // 1000}
            await self._store.command(_EMPTY, parameters)
        return len(stale) + len(gone)

    async def _days(self, sql: str, parameters: Mapping[str, Any]) -> list[_Day]:
        rows = await self._store.rows(sql, parameters, _SETTINGS)
        return [_Day(day, project, count, checksum) for project, day, count, checksum in rows]

    async def _build_day(self, one: _Day) -> None:
        parameters = {
            "project": one.project_id,
            "day": one.day,
            "built": time.time_ns() // 1000,
            "rows": one.rows,
            "checksum": one.checksum,
        }
        await self._store.command(_BUILD, parameters, _SETTINGS)


def _months_between(before: Fingerprint, now: Fingerprint) -> Callable[[int], bool]:
    """Whether something of a month has expired since. A project that is new in it may have had anything."""
    moved = [
        (before[project][0] if project in before else 0, month)
        for project, (month, *_) in now.items()
        if before.get(project) != now[project]
    ]
    return lambda month: any(first <= month <= last for first, last in moved)
