"""Dashboards: named lists of saved queries. Created once a key, read, listed in order of creation, deleted."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace
from xxhash import xxh3_128_digest

from services.contract.api.dashboards import MAX_PAGE_BYTES, Dashboard, DashboardList
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.timestamps import microseconds
from services.contract.log.event_ids import project_prefix
from services.contract.tables import DASHBOARDS
from services.query.dashboards.request import NewDashboard
from services.query.execution.turns import StoreTurns
from services.query.request.cursor import Position, read_cursor, write_cursor
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_time

_READ = "dashboard_id, name, queries, toUnixTimestamp64Micro(created_at), toUnixTimestamp64Micro(updated_at), version"
# Of a page's rows those that it has bytes for, and the first that is too much. A row is more than its two texts.
_ROW_BYTES = 300
# A deletion's version is so many higher: a change that was under way at the same time has a lower one, whichever is stored
# last.
_DELETION_AHEAD = 1000
_PAGE_SQL = (
    f"SELECT {_READ}, bytes FROM (SELECT *, length(name) + length(queries) + {_ROW_BYTES:d} AS own_bytes, "
    "sum(own_bytes) OVER (ORDER BY created_at, dashboard_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS bytes "
    f"FROM (SELECT * FROM {DASHBOARDS} FINAL WHERE project_id = {{project:String}} AND NOT deleted "
    "AND (toUnixTimestamp64Micro(created_at), dashboard_id) > ({after:Int64}, {after_id:String}) "
    "ORDER BY created_at, dashboard_id LIMIT {limit:UInt32})) "
    "WHERE bytes - own_bytes <= {bytes:UInt64} ORDER BY created_at, dashboard_id"
)


class _Row(Struct, kw_only=True):
    """A row of the table as it is inserted; `queries` is JSON text. Deleting adds a row of a higher version."""

    project_id: str
    dashboard_id: str
    name: str
    queries: str
    created_at: datetime
    updated_at: datetime
    deleted: bool = False
    version: int = 1


class Dashboards:
    """All methods see one project's dashboards only, in its turn. They raise StoreError, and ApiError 429 and 503."""

    def __init__(self, store: ClickHouse, turns: StoreTurns) -> None:
        self._store = store
        self._turns = turns

    async def create(self, project_id: str, new: NewDashboard, now: datetime) -> Dashboard:
        """With a key that was used before: the dashboard that it made then, even where that was deleted since."""
        if new.idempotency_key is None:
            dashboard_id = uuid.uuid4()
        else:
            dashboard_id = _id_of_key(project_id, new.idempotency_key)
            there = await self._find(project_id, dashboard_id, deleted_too=True)
            if there is not None:
                return there
        row = _Row(
            project_id=project_id,
            dashboard_id=str(dashboard_id),
            name=new.name,
            queries=msgspec.json.encode(new.queries).decode(),
            created_at=now,
            updated_at=now,
        )
        # Of several inserts at once under one token ClickHouse takes the first and drops the others.
        await self._insert(row, token=row.dashboard_id)
        created = await self._find(project_id, dashboard_id, deleted_too=True)
        if created is None:
            # A server that was killed may know the token and not have the row. Of the lower version, so that it
            # never stands in for a first one that only comes into sight late.
            await self._insert(replace(row, version=0), token=str(uuid.uuid4()))
            created = await self._find(project_id, dashboard_id, deleted_too=True)
        return created or _dashboard(dashboard_id, new, now)

    async def update(
        self, project_id: str, dashboard_id: str, changed: NewDashboard, version: int, now: datetime
    ) -> Dashboard | None:
        """None where there is none. Raises ApiError 409 where its version is another one than was read."""
        identity = _uuid(dashboard_id)
        there = None if identity is None else await self._find(project_id, identity)
        if identity is None or there is None:
            return None
        if there.version != version:
            raise _conflict(there.version)
        row = _Row(
            project_id=project_id,
            dashboard_id=dashboard_id,
            name=changed.name,
            queries=msgspec.json.encode(changed.queries).decode(),
            created_at=there.created_at,
            updated_at=now,
            version=version + 1,
        )
        # Of several changes of one version ClickHouse takes the first and drops the others.
        await self._insert(row, token=f"{dashboard_id} {row.version}")
        found = await self._find(project_id, identity)
        if found is not None and found.version == version:
            # As in `create`: the token is known, and its row lost.
            await self._insert(row, token=str(uuid.uuid4()))
            found = await self._find(project_id, identity)
        if found is None:
            return None
        if (found.version, found.updated_at, found.name) == (row.version, now, row.name):
            return found
        if found.version > row.version and await self._was_made(row):
            # Somebody else has read it and changed it meanwhile: the answer is what this change made.
            return replace(found, name=row.name, queries=changed.queries, updated_at=now, version=row.version)
        raise _conflict(found.version)

    async def get(self, project_id: str, dashboard_id: str) -> Dashboard | None:
        identity = _uuid(dashboard_id)
        return None if identity is None else await self._find(project_id, identity)

    async def page(self, project_id: str, limit: int, cursor: str | None) -> DashboardList:
        """In order of (time of creation, id); ends early where it has MAX_PAGE_BYTES. Raises ApiError for a cursor of
        something else."""
        of = repr(("dashboards", project_id)).encode()
        after = Position(-1, bytes(16)) if cursor is None else read_cursor(cursor, of)
        parameters = {
            "project": project_id,
            "after": after.time_us,
            "after_id": str(uuid.UUID(bytes=after.id)),
            "limit": limit + 1,
            "bytes": MAX_PAGE_BYTES,
        }
        rows = await self._turns.run(project_id, lambda store: store.rows(_PAGE_SQL, parameters))
        # The last row shows that there are more: it is beyond the number, or beyond the bytes.
        is_last = len(rows) <= limit and (not rows or rows[-1][6] <= MAX_PAGE_BYTES or len(rows) == 1)
        page = rows if is_last else rows[: min(limit, len(rows) - 1)]
        answer = DashboardList(items=[_of_row(row[:6]) for row in page])
        if not is_last:
            answer.next_cursor = write_cursor(Position(page[-1][3], uuid.UUID(page[-1][0]).bytes), of)
        return answer

    async def delete(self, project_id: str, dashboard_id: str) -> None:
        """Also fine when there is no such dashboard."""
        identity = _uuid(dashboard_id)
        if identity is None:
            return
        async with self._turns.turn(project_id):
            await self._store.command(
                f"INSERT INTO {DASHBOARDS} SELECT * REPLACE "
                f"(true AS deleted, now64(6) AS updated_at, version + {_DELETION_AHEAD:d} AS version) "
                # Unqualified, `deleted` would be the value that replaces it.
                f"FROM {DASHBOARDS} AS d FINAL WHERE d.project_id = {{project:String}} "
                "AND d.dashboard_id = {id:String} AND NOT d.deleted",
                {"project": project_id, "id": str(identity)},
            )

    async def _find(self, project_id: str, dashboard_id: uuid.UUID, *, deleted_too: bool = False) -> Dashboard | None:
        rows = await self._turns.run(
            project_id,
            lambda store: store.rows(
                f"SELECT {_READ} FROM {DASHBOARDS} FINAL WHERE project_id = {{project:String}} "
                "AND dashboard_id = {id:String} AND (NOT deleted OR {deleted_too:Bool})",
                {"project": project_id, "id": str(dashboard_id), "deleted_too": deleted_too},
            ),
        )
        return _of_row(rows[0]) if rows else None

    async def _was_made(self, row: _Row) -> bool:
        """Whether a change is among those that others have overtaken. They are there until ClickHouse merges parts."""
        parameters = {
            **{"project": row.project_id, "id": row.dashboard_id, "version": row.version},
            **{"name": row.name, "queries": row.queries, "at": microseconds(row.updated_at)},
        }
        ((count,),) = await self._turns.run(
            row.project_id,
            lambda store: store.rows(
                f"SELECT count() FROM {DASHBOARDS} WHERE project_id = {{project:String}} AND dashboard_id = {{id:String}} "
                "AND version = {version:UInt64} AND name = {name:String} AND queries = {queries:String} "
                "AND toUnixTimestamp64Micro(updated_at) = {at:Int64}",
                parameters,
            ),
        )
        return bool(count)

    async def _insert(self, row: _Row, token: str) -> None:
        async with self._turns.turn(row.project_id):
            await self._store.insert_lines(
                DASHBOARDS, _Row.__struct_fields__, msgspec.json.encode(row) + b"\n", token=token
            )


def _conflict(version: int) -> ApiError:
    return ApiError(
        ErrorCode.CONFLICT,
        f"The dashboard was changed since it was read: its version is {version} now. Read it, and change it again.",
        field="version",
    )


def _id_of_key(project_id: str, key: str) -> uuid.UUID:
    return uuid.UUID(bytes=xxh3_128_digest(project_prefix(project_id) + b"dashboard\0" + key.encode()))


def _uuid(text: str) -> uuid.UUID | None:
    """Only the spelling that was given out: nothing else is an id of ours."""
    try:
        identity = uuid.UUID(text)
    except ValueError:
        return None
    return identity if str(identity) == text else None


def _of_row(row: Sequence[Any]) -> Dashboard:
    dashboard_id, name, queries, created_us, updated_us, version = row
    return Dashboard(
        dashboard_id=dashboard_id,
        name=name,
        queries=msgspec.json.decode(queries, type=list[Raw]),
        created_at=utc_time(created_us),
        updated_at=utc_time(updated_us),
        version=version,
    )


def _dashboard(dashboard_id: uuid.UUID, new: NewDashboard, now: datetime) -> Dashboard:
    return Dashboard(
        dashboard_id=str(dashboard_id), name=new.name, queries=new.queries, created_at=now, updated_at=now, version=1
    )
