"""The rows of `deletions`: what was asked for, and how far it is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from services.contract.log.marks import DeletionLine
from services.contract.tables import DELETIONS
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_time

NEVER = utc_time(0)
_UNFINISHED = "finished_at = toDateTime64(0, 6, 'UTC')"
_READ = (
    "SELECT project_id, deletion_id, distinct_id, toUnixTimestamp64Micro(since), toUnixTimestamp64Micro(until), "
    "toUnixTimestamp64Micro(requested_at), toUnixTimestamp64Micro(finished_at), toUnixTimestamp64Micro(settled_at), "
    f"person_version, version FROM {DELETIONS} FINAL WHERE "
)


class DeletionRow(Struct, kw_only=True):
    """A row of the table; the one with the highest version counts. `distinct_id`: of a person; else `since` and `until`.

    requested -> settled (a worker has met it in the log) -> finished (the data are rewritten)
    """

    project_id: str
    deletion_id: str
    distinct_id: str
    since: datetime = NEVER
    until: datetime = NEVER
    requested_at: datetime
    finished_at: datetime = NEVER
    settled_at: datetime = NEVER
    person_version: int = 0
    version: int = 1

    @property
    def is_settled(self) -> bool:
        return self.settled_at != NEVER

    @property
    def is_finished(self) -> bool:
        return self.finished_at != NEVER

    def line(self) -> DeletionLine:
        """As it stands in the log."""
        return DeletionLine(
            deletion_id=self.deletion_id,
            project_id=self.project_id,
            distinct_id=self.distinct_id,
            since=self.since,
            until=self.until,
            requested_at=self.requested_at,
        )


class DeletionRows:
    """Methods raise StoreError."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    async def find(self, project_id: str, deletion_id: str) -> DeletionRow | None:
        rows = await self._store.rows(
            f"{_READ} project_id = {{project:String}} AND deletion_id = {{id:UUID}}",
            {"project": project_id, "id": deletion_id},
        )
        return _of_row(rows[0]) if rows else None

    async def count_unfinished(self, project_id: str) -> int:
        rows = await self._store.rows(
            f"SELECT count() FROM {DELETIONS} FINAL WHERE project_id = {{project:String}} AND {_UNFINISHED}",
            {"project": project_id},
        )
        return int(rows[0][0])

    async def unfinished(self, project_id: str, limit: int) -> list[DeletionRow]:
        """The oldest first."""
        rows = await self._store.rows(
            f"{_READ} project_id = {{project:String}} AND {_UNFINISHED} ORDER BY requested_at LIMIT {limit:d}",
            {"project": project_id},
        )
        return [_of_row(row) for row in rows]

    async def waiting(self) -> dict[str, tuple[datetime, datetime, int]]:
        """By project with unfinished deletions: when the first and the last of them were asked for, and how many they are."""
        rows = await self._store.rows(
            "SELECT project_id, toUnixTimestamp64Micro(min(requested_at)), toUnixTimestamp64Micro(max(requested_at)), count() "
            f"FROM {DELETIONS} FINAL WHERE {_UNFINISHED} GROUP BY project_id"
        )
        return {row[0]: (utc_time(row[1]), utc_time(row[2]), row[3]) for row in rows}

    async def write(self, rows: Sequence[DeletionRow]) -> None:
        if not rows:
            return
        body = msgspec.json.Encoder().encode_lines(rows)
        await self._store.insert_lines(DELETIONS, DeletionRow.__struct_fields__, body)


def _of_row(values: Sequence[Any]) -> DeletionRow:
    project_id, deletion_id, distinct_id, since, until, requested, finished, settled, person_version, version = values
    return DeletionRow(
        project_id=project_id,
        deletion_id=str(deletion_id),
        distinct_id=distinct_id,
        since=utc_time(since),
        until=utc_time(until),
        requested_at=utc_time(requested),
        finished_at=utc_time(finished),
        settled_at=utc_time(settled),
        person_version=person_version,
        version=version,
    )
