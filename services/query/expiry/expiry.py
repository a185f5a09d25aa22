"""Events end after the days that are set: first they leave answers, later the disk.

each minute:   what has expired of each project, up to the beginning of a day, is noted; no query shows it from then on
once a day:    months in which nothing of anybody is kept any more are emptied, by a mutation that reads little
once a month:  whose months ended before those of others are deleted by one mutation, for all such projects together

Nothing comes back: what is noted only grows. Event ids that workers still have to know go to `taken_ids` before.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from prometheus_client import Counter

from services.contract.api.timestamps import microseconds
from services.contract.tables import API_KEYS, EVENTS, EXPIRED, TAKEN_IDS
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import Clock, utc_time
from services.runtime.cluster import on_cluster, on_replicas, own_table, rows_of
from services.runtime.logs import get_logger
from services.runtime.project_limits import read_limits, retention_days_of
from services.runtime.retry import repeat_forever

log = get_logger(__name__)
DROPPED = Counter("headrace_query_expired_partitions_total", "Months of events that were dropped: all had expired.")
REWRITTEN = Counter("headrace_query_expired_mutations_total", "Mutations that have begun to delete expired events.")
_EVERY_S = 60.0
# Of one mutation: replicated tables keep it in a node of Keeper.
_MAX_PROJECTS = 1000
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_PROJECTS_SQL = f"SELECT DISTINCT project_id FROM {API_KEYS}"
_MARKS_SQL = (
    "SELECT project_id, toUnixTimestamp64Micro(max(kept_since)), toUnixTimestamp64Micro(max(rewritten_to)) "
    f"FROM {EXPIRED} GROUP BY project_id"
)
_MONTHS_SQL = (
    "SELECT DISTINCT toUInt32(partition) FROM {parts} "
    "WHERE database = {{database:String}} AND table = {{events:String}} AND active"
)
_OF_MONTH = "toYYYYMM(timestamp) = {month:UInt32}"
_OF_PROJECTS = "has({projects:Array(String)}, toString(project_id))"
# Of these projects, what is older than the time of each. `last` alone says which months need not be looked at.
_OLDER = (
    f"timestamp < fromUnixTimestamp64Micro({{last:Int64}}, 'UTC') AND {_OF_PROJECTS} AND "
    "timestamp < fromUnixTimestamp64Micro("
    "transform(toString(project_id), {projects:Array(String)}, {before:Array(Int64)}, toInt64(0)), 'UTC')"
)
# Received late: after the time before which all was expired. The others are out of the dedupe window anyway.
_LATE = (
    "received_at >= fromUnixTimestamp64Micro("
    "transform(toString(project_id), {projects:Array(String)}, {kept:Array(Int64)}, toInt64(0)), 'UTC')"
)


class Mark(Struct, frozen=True):
    """Of a project: no answer shows earlier events than `kept_since`; earlier ones than `rewritten_to` are off the disk."""

    kept_since: datetime = _BEGINNING
    rewritten_to: datetime = _BEGINNING

    @property
    def month(self) -> datetime:
        """Everything before it has expired in whole months."""
        return self.kept_since.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


class Expiry:
    """Belongs to one event loop. Any number of query services may do the same."""

    def __init__(self, store: ClickHouse, default_days: int, clock: Clock) -> None:
        self._store = store
        # Of a cluster: what each shard has, and the clause that tells each.
        self._own = own_table(EVENTS, store.cluster)
        self._everywhere = on_cluster(store.cluster)
        self._rows = rows_of(store.cluster, store.database, EVENTS)
        self._default_days = default_days
        self._clock = clock
        self._deleted_on: datetime | None = None

    async def run_forever(self) -> None:
        await repeat_forever(self.run, (StoreError,), _EVERY_S, log, "expiry_failed")

    async def run(self) -> None:
        """Raises StoreError, and goes on from there next time."""
        marks = await self.mark()
        today = self._today()
        if marks and self._deleted_on != today:
            await self.delete(marks)
            self._deleted_on = today

    def _today(self) -> datetime:
        return self._clock().replace(hour=0, minute=0, second=0, microsecond=0)

    async def mark(self) -> dict[str, Mark]:
        """Note what has expired; the marks of all projects. Raises StoreError."""
        limits = await read_limits(self._store)
        rows = await self._store.rows(_MARKS_SQL)
        marks = {project: Mark(utc_time(kept), utc_time(rewritten)) for project, kept, rewritten in rows}
        projects = set(limits)
        if self._default_days:
            projects |= {row[0] for row in await self._store.rows(_PROJECTS_SQL)}
        moved = {}
        for project in sorted(projects):
            days = retention_days_of(limits, project, self._default_days)
            mark = marks.get(project, Mark())
            kept_since = self._today() - timedelta(days=days)
            if days and kept_since > mark.kept_since:
                moved[project] = Mark(kept_since, mark.rewritten_to)
        await self._write(moved)
        return marks | moved

    async def _write(self, marks: Mapping[str, Mark]) -> None:
        if not marks:
            return
        projects = sorted(marks)
        await self._store.command(
            f"INSERT INTO {EXPIRED} (project_id, kept_since, rewritten_to, version) SELECT project, "
            "fromUnixTimestamp64Micro(kept, 'UTC'), fromUnixTimestamp64Micro(rewritten, 'UTC'), {version:UInt64} "
            "FROM (SELECT arrayJoin(arrayZip({projects:Array(String)}, {kept:Array(Int64)}, {rewritten:Array(Int64)})) "
            "AS row, row.1 AS project, row.2 AS kept, row.3 AS rewritten)",
            {
                "projects": projects,
                "kept": [microseconds(marks[project].kept_since) for project in projects],
                "rewritten": [microseconds(marks[project].rewritten_to) for project in projects],
                "version": time.time_ns(),
            },
        )

    async def delete(self, marks: Mapping[str, Mark]) -> None:
        """Take off the disk what can go without rewriting, and once a month what cannot. Raises StoreError."""
        last = max(mark.kept_since for mark in marks.values())
        emptied = [
            month for month in await self._months() if _end_of(month) <= last and await self._empty(month, marks)
        ]
        due = [project for project, mark in sorted(marks.items()) if mark.rewritten_to < mark.month]
        for at in range(0, len(due), _MAX_PROJECTS):
            await self._rewrite(due[at : at + _MAX_PROJECTS], marks, emptied)

    async def _months(self) -> list[int]:
        sql = _MONTHS_SQL.format(parts=on_replicas(self._store.cluster, "system.parts"))
        rows = await self._store.rows(sql, {"database": self._store.database, "events": self._own})
        return sorted(int(row[0]) for row in rows)

    async def _empty(self, month: int, marks: Mapping[str, Mark]) -> bool:
        """Whether the month has expired for all who have something in it: then this goes."""
        rows = await self._store.rows(
            f"SELECT DISTINCT toString(project_id) FROM {self._rows} WHERE {_OF_MONTH}", {"month": month}
        )
        found = sorted(project for (project,) in rows)
        if not found or any(marks.get(project, Mark()).kept_since < _end_of(month) for project in found):
            return False
        await self._note_taken(_OF_MONTH, found, marks, {"month": month})
        # Of these projects alone. DROP PARTITION would take what others have stored there since, and a server of a cluster
        # that is away does late what it was told.
        for at in range(0, len(found), _MAX_PROJECTS):
            await self._store.command(
                f"ALTER TABLE {self._own} {self._everywhere} DELETE IN PARTITION {month:d} WHERE {_OF_PROJECTS}",
                {"projects": found[at : at + _MAX_PROJECTS]},
                {"mutations_sync": 0},
            )
        DROPPED.inc()
        log.info("month_dropped", month=month, projects=len(found))
        return True

    async def _rewrite(self, projects: Sequence[str], marks: Mapping[str, Mark], emptied: Sequence[int]) -> None:
        """`emptied`: months that have a mutation of their own."""
        before = [microseconds(marks[project].month) for project in projects]
        parameters = {"projects": projects, "before": before, "last": max(before)}
        if await self._store.rows(
            f"SELECT 1 FROM {self._rows} WHERE {_OLDER} AND toYYYYMM(timestamp) NOT IN {{emptied:Array(UInt32)}} LIMIT 1",
            {**parameters, "emptied": emptied},
        ):
            await self._note_taken(_OLDER, projects, marks, {"before": before, "last": max(before)})
            await self._store.command(
                f"ALTER TABLE {self._own} {self._everywhere} DELETE WHERE {_OLDER}", parameters, {"mutations_sync": 0}
            )
            REWRITTEN.inc()
            log.info("expired_rewritten", projects=len(projects))
        await self._write({one: Mark(marks[one].kept_since, marks[one].month) for one in projects})

    async def _note_taken(
        self, where: str, projects: Sequence[str], marks: Mapping[str, Mark], parameters: Mapping[str, object]
    ) -> None:
        """Their keys stay taken: a duplicate must not be stored again because its first has gone."""
        kept = [microseconds(marks[project].kept_since) for project in projects]
        await self._store.command(
            f"INSERT INTO {TAKEN_IDS} (event_id, received_at) SELECT event_id, received_at FROM {self._rows} "
            f"WHERE {where} AND {_LATE}",
            {"projects": projects, "kept": kept, **parameters},
        )


def _end_of(month: int) -> datetime:
    """Of a month as partitions are named: 202603."""
    year, number = divmod(month, 100)
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
