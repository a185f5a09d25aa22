"""Deletes a person's data, or a range of time: notes it, tells ClickHouse to rewrite the parts, says when it is done.

POST  -> rows in deletions and deleted_ids (from now on no read sees the person's events) -> ALTER ... DELETE of each
         table that has something of it; of none: done
GET   -> done when all mutations of the deletion are; none found (a crash in between): they are begun again
hourly: events of deleted ids that came in late, which no read sees, are deleted as well
"""

import asyncio
import uuid
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from xxhash import xxh3_128_digest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.privacy import Deletion
from services.contract.log.event_ids import project_prefix
from services.contract.tables import COHORT_IDS, DELETED_IDS, DELETIONS, EVENTS, IDENTITY_LOG, PERSON_IDS
from services.query.execution.turns import StoreTurns
from services.query.request.time_window import TimeWindow, microseconds
from services.query.sql.persons import IDS_OF_PERSON, PERSON_OF
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import utc_time
from services.runtime.logs import get_logger

log = get_logger(__name__)

SWEEP_EVERY_S = 3600.0
_RETRY_AFTER_S = 5
_NEVER = utc_time(0)
# Subqueries count as not deterministic on replicated tables; the rows that these ask for never change.
_SETTINGS = {"mutations_sync": 0, "allow_nondeterministic_mutations": 1}
_OF_PROJECT = "project_id = {project:String} AND "
_DELETED = (
    f"(SELECT distinct_id FROM {DELETED_IDS} WHERE project_id = {{project:String}} AND deletion_id = {{id:UUID}})"
)


class _Mutation(NamedTuple):
    """`ALTER TABLE table action WHERE where`."""

    table: str
    action: str
    where: str


_REQUESTED = "fromUnixTimestamp64Micro({requested:Int64}, 'UTC')"
# What a deletion does to which rows of a table.
_OF_PERSON = (
    _Mutation(EVENTS, "DELETE", f"{_OF_PROJECT} distinct_id IN {_DELETED} AND timestamp <= {_REQUESTED}"),
    _Mutation(
        IDENTITY_LOG,
        "DELETE",
        f"{_OF_PROJECT} timestamp <= {_REQUESTED} "
        f"AND (distinct_id IN {_DELETED} OR (old_id IN {_DELETED} AND kind != 'link'))",
    ),
    # What another user said with a link from a deleted id is that user's; only the id goes.
    _Mutation(
        IDENTITY_LOG,
        "UPDATE old_id = ''",
        f"{_OF_PROJECT} timestamp <= {_REQUESTED} AND old_id IN {_DELETED} AND kind = 'link'",
    ),
    _Mutation(PERSON_IDS, "DELETE", f"{_OF_PROJECT} distinct_id IN {_DELETED}"),
    _Mutation(COHORT_IDS, "DELETE", f"{_OF_PROJECT} distinct_id IN {_DELETED} AND added_at <= {_REQUESTED}"),
)
# What was received after the request is another matter: the range can be filled again.
_OF_RANGE = (
    _Mutation(
        EVENTS,
        "DELETE",
        f"{_OF_PROJECT} received_at <= {_REQUESTED} AND notEmpty(toString({{id:UUID}})) "
        "AND timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') "
        "AND timestamp < fromUnixTimestamp64Micro({until:Int64}, 'UTC')",
    ),
)
_READ = (
    "SELECT project_id, deletion_id, distinct_id, toUnixTimestamp64Micro(since), toUnixTimestamp64Micro(until), "
    f"toUnixTimestamp64Micro(requested_at), toUnixTimestamp64Micro(finished_at) FROM {DELETIONS} FINAL "
)


class NewDeletion(Struct, frozen=True):
    """Either `distinct_id`, any id of a person, or a window."""

    distinct_id: str | None
    window: TimeWindow | None
    idempotency_key: str | None


class _Row(Struct, kw_only=True):
    """A row of the table; it is finished by adding a row of a higher version."""

    project_id: str
    deletion_id: str
    distinct_id: str
    since: datetime
    until: datetime
    requested_at: datetime
    finished_at: datetime = _NEVER
    version: int = 1


class Deletions:
    """Calls of a project take its turn, and so many of its deletions are under way at once. Methods raise StoreError and
    ApiError; each may be repeated."""

    def __init__(self, store: ClickHouse, turns: StoreTurns, max_running: int) -> None:
        self._store = store
        self._turns = turns
        self._max_running = max_running

    async def request(self, project_id: str, new: NewDeletion, now: datetime) -> Deletion:
        """With a key that was used before: the deletion of then."""
        async with self._turns.turn(project_id):
            return await self._request(project_id, new, now)

    async def get(self, project_id: str, deletion_id: str) -> Deletion | None:
        """Also begins what was noted and, by a crash, not begun."""
        async with self._turns.turn(project_id):
            return await self._get(project_id, deletion_id)

    async def _request(self, project_id: str, new: NewDeletion, now: datetime) -> Deletion:
        if new.idempotency_key is None:
            deletion_id = uuid.uuid4()
        else:
            prefix = project_prefix(project_id) + b"deletion\0"
            deletion_id = uuid.UUID(bytes=xxh3_128_digest(prefix + new.idempotency_key.encode()))
            there = await self._get(project_id, str(deletion_id))
            if there is not None:
                return there
        row = _Row(
            project_id=project_id,
            deletion_id=str(deletion_id),
            distinct_id=new.distinct_id or "",
            since=utc_time(new.window.since_us) if new.window else _NEVER,
            until=utc_time(new.window.until_us) if new.window else _NEVER,
            requested_at=now,
        )
        await self._refuse_too_many(project_id)
        await self._write(row)
        await self._begin(row)
        return _answer(row)

    async def _refuse_too_many(self, project_id: str) -> None:
        """Raises ApiError 429. Deletions are known to be done when somebody looks."""
        if len(await self._running(project_id)) < self._max_running:
            return
        for row in await self._running(project_id):
            await self._look(row)
        if len(await self._running(project_id)) >= self._max_running:
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                f"{self._max_running} deletions of this project are under way. Ask again when one is done.",
                retry_after_s=_RETRY_AFTER_S,
            )

    async def _running(self, project_id: str) -> list[_Row]:
        rows = await self._store.rows(
            f"{_READ} WHERE project_id = {{project:String}} AND finished_at = toDateTime64(0, 6, 'UTC')",
            {"project": project_id},
        )
        return [_of_row(values) for values in rows]

    async def _get(self, project_id: str, deletion_id: str) -> Deletion | None:
        try:
            identity = str(uuid.UUID(deletion_id))
        except ValueError:
            return None
        if identity != deletion_id:
            return None
        rows = await self._store.rows(
            f"{_READ} WHERE project_id = {{project:String}} AND deletion_id = {{id:UUID}}",
            {"project": project_id, "id": identity},
        )
        if not rows:
            return None
        row = _of_row(rows[0])
        if row.finished_at == _NEVER:
            await self._look(row)
        return _answer(row)

    async def sweep(self) -> int:
        """Deletes what came in late, and looks after the deletions that are under way. How many needed work."""
        rows = await self._store.rows(
            f"{_READ} WHERE finished_at = toDateTime64(0, 6, 'UTC') OR deletion_id IN (SELECT d.deletion_id "
            f"FROM {EVENTS} AS e INNER JOIN {DELETED_IDS} AS d ON d.project_id = e.project_id "
            "AND d.distinct_id = e.distinct_id WHERE e.timestamp <= d.before)"
        )
        for values in rows:
            row = _of_row(values)
            await (self._look(row) if row.finished_at == _NEVER else self._begin(row))
        return len(rows)

    async def sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                log.info("deletions_swept", deletions=await self.sweep())
            except StoreError as error:
                log.warning("deletions_not_swept", reason=str(error)[:500])

    async def _begin(self, row: _Row) -> None:
        """First the ids of the person, which hides their events; then the rewriting, which takes its time."""
        parameters: dict[str, Any] = {
            "project": row.project_id,
            "id": row.deletion_id,
            "requested": microseconds(row.requested_at),
        }
        if row.distinct_id:
            await self._note_ids(row, parameters)
        else:
            parameters |= {"since": microseconds(row.since), "until": microseconds(row.until)}
        begun = 0
        for table, action, where in _OF_PERSON if row.distinct_id else _OF_RANGE:
            # Each mutation rewrites parts: none for a table that has nothing of it.
            if await self._store.rows(f"SELECT 1 FROM {table} WHERE {where} LIMIT 1", parameters):
                await self._store.command(f"ALTER TABLE {table} {action} WHERE {where}", parameters, _SETTINGS)
                begun += 1
        if not begun and row.finished_at == _NEVER:
            await self._finish(row)

    async def _note_ids(self, row: _Row, parameters: dict[str, Any]) -> None:
        """Once: an id that came back may belong to somebody else by now, who did not ask for this."""
        ((noted,),) = await self._store.rows(
            f"SELECT count() FROM {DELETED_IDS} WHERE project_id = {{project:String}} AND deletion_id = {{id:UUID}}",
            parameters,
        )
        if noted:
            return
        found = await self._store.rows(PERSON_OF, {"project": row.project_id, "id": row.distinct_id})
        ids = f"SELECT distinct_id FROM ({IDS_OF_PERSON}) UNION DISTINCT SELECT {{asked:String}}"
        await self._store.command(
            f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) "
            f"SELECT {{project:String}}, distinct_id, {{id:UUID}}, {_REQUESTED} FROM ({ids})",
            {**parameters, "person": found[0][0] if found else row.distinct_id, "asked": row.distinct_id},
        )

    async def _look(self, row: _Row) -> None:
        """Whether all is done; then that is noted, in `row` as well."""
        states = await self._store.rows(
            "SELECT is_done FROM system.mutations WHERE database = currentDatabase() "
            "AND position(command, {id:String}) > 0",
            {"id": row.deletion_id},
        )
        if not states:
            await self._begin(row)
        elif all(state for (state,) in states):
            await self._finish(row)

    async def _finish(self, row: _Row) -> None:
        ((now_us,),) = await self._store.rows("SELECT toUnixTimestamp64Micro(now64(6))")
        row.finished_at, row.version = utc_time(now_us), 2
        await self._write(row)

    async def _write(self, row: _Row) -> None:
        await self._store.insert_lines(DELETIONS, _Row.__struct_fields__, msgspec.json.encode(row) + b"\n")


def _of_row(values: Any) -> _Row:
    project_id, deletion_id, distinct_id, since, until, requested, finished = values
    return _Row(
        project_id=project_id,
        deletion_id=str(deletion_id),
        distinct_id=distinct_id,
        since=utc_time(since),
        until=utc_time(until),
        requested_at=utc_time(requested),
        finished_at=utc_time(finished),
    )


def _answer(row: _Row) -> Deletion:
    finished = None if row.finished_at == _NEVER else row.finished_at
    return Deletion(
        deletion_id=row.deletion_id,
        state="running" if finished is None else "done",
        requested_at=row.requested_at,
        finished_at=finished,
    )
