"""Deletes a person's data, or a window of time: notes it, hides the person, and puts it into the log.

POST  -> a row in deletions -> the ids that the person is known by in deleted_ids: from now on no read sees their events
         -> a record of the log, behind all merges that were acknowledged before -> 2xx
then  -> deletion_queue.py does the rest, and deletion_sweep.py what comes in late
"""

import asyncio
import time
import uuid
from datetime import datetime

from msgspec import Struct
from xxhash import xxh3_128_digest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.privacy import Deletion
from services.contract.api.timestamps import microseconds
from services.contract.log.event_ids import project_prefix
from services.contract.tables import DELETED_IDS, PERSON_IDS
from services.query.execution.turns import StoreTurns
from services.query.persons.deletion_log import DeletionLog, LogUnavailableError
from services.query.persons.deletion_queue import DeletionQueues
from services.query.persons.deletion_rows import NEVER, DeletionRow, DeletionRows
from services.query.request.time_window import TimeWindow
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_time

_RETRY_AFTER_S = 5
_COUNTED_S = 1.0
_MINE = "project_id = {project:String}"
# Only hides. Which ids are the person's a worker says, when it meets the deletion in the log.
_HIDE = (
    f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before, settled) "
    "SELECT {project:String}, distinct_id, {id:UUID}, fromUnixTimestamp64Micro({requested:Int64}, 'UTC'), false FROM ("
    f"SELECT distinct_id FROM {PERSON_IDS} FINAL WHERE {_MINE} AND person_id IN "
    f"(SELECT person_id FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id = {{asked:String}}) "
    "UNION DISTINCT SELECT {asked:String} AS distinct_id)"
)
_IS_HIDDEN = f"SELECT 1 FROM {DELETED_IDS} WHERE {_MINE} AND deletion_id = {{id:UUID}} LIMIT 1"


class NewDeletion(Struct, frozen=True):
    """Either `distinct_id`, any id of a person, or a window."""

    distinct_id: str | None
    window: TimeWindow | None
    idempotency_key: str | None


class Deletions:
    """Calls of a project take its turn, and so many of its deletions wait at once. Methods raise StoreError and ApiError;
    each may be repeated."""

    def __init__(
        self, store: ClickHouse, turns: StoreTurns, event_log: DeletionLog, queues: DeletionQueues, max_waiting: int
    ) -> None:
        self._store = store
        self._rows = DeletionRows(store)
        self._turns = turns
        self._log = event_log
        self._queues = queues
        self._max_waiting = max_waiting
        # By project: how many were not done, and when that was asked.
        self._waiting: dict[str, tuple[int, float]] = {}

    async def request(self, project_id: str, new: NewDeletion, now: datetime) -> Deletion:
        """With a key that was used before: the deletion of then."""
        async with self._turns.turn(project_id):
            return await self._request(project_id, new, now)

    async def get(self, project_id: str, deletion_id: str) -> Deletion | None:
        try:
            if str(uuid.UUID(deletion_id)) != deletion_id:
                return None
        except ValueError:
            return None
        async with self._turns.turn(project_id):
            row = await self._rows.find(project_id, deletion_id)
        return _answer(row) if row is not None else None

    async def _request(self, project_id: str, new: NewDeletion, now: datetime) -> Deletion:
        row = None
        if new.idempotency_key is None:
            deletion_id = uuid.uuid4()
        else:
            prefix = project_prefix(project_id) + b"deletion\0"
            deletion_id = uuid.UUID(bytes=xxh3_128_digest(prefix + new.idempotency_key.encode()))
            row = await self._rows.find(project_id, str(deletion_id))
        if row is not None and (row.is_settled or row.is_finished):
            return _answer(row)
        is_new = row is None
        if row is None:
            await self._refuse_too_many(project_id)
            row = DeletionRow(
                project_id=project_id,
                deletion_id=str(deletion_id),
                distinct_id=new.distinct_id or "",
                since=utc_time(new.window.since_us) if new.window else NEVER,
                until=utc_time(new.window.until_us) if new.window else NEVER,
                requested_at=now,
            )
        await asyncio.gather(self._rows.write([row] if is_new else []), self._hide(row, is_new))
        await self._announce(row)
        self._queues.announced(row.deletion_id)
        return _answer(row)

    async def _refuse_too_many(self, project_id: str) -> None:
        """Raises ApiError 429. Counts those of the last second itself: a row of a thousand requests need not be counted a
        thousand times."""
        count, at = self._waiting.get(project_id, (0, 0.0))
        if not at or time.monotonic() - at > _COUNTED_S or count >= self._max_waiting:
            count, at = await self._rows.count_unfinished(project_id), time.monotonic()
        self._waiting[project_id] = count + 1, at
        if count >= self._max_waiting:
            del self._waiting[project_id]
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                f"{self._max_waiting} deletions of this project are not done yet. Ask again when some are.",
                retry_after_s=_RETRY_AFTER_S,
            )

    async def _hide(self, row: DeletionRow, is_new: bool) -> None:
        """Once, and before it is announced: what a worker has noted must stay as it is."""
        if not row.distinct_id:
            return
        asked = {"project": row.project_id, "id": row.deletion_id}
        if is_new or not await self._store.rows(_IS_HIDDEN, asked):
            asked |= {"asked": row.distinct_id}
            await self._store.command(_HIDE, {**asked, "requested": microseconds(row.requested_at)})

    async def _announce(self, row: DeletionRow) -> None:
        try:
            await self._log.announce(row.line())
        except LogUnavailableError as error:
            raise ApiError(
                ErrorCode.LOG_UNAVAILABLE,
                "The event log cannot take the deletion now. Send it again, with the same idempotency key.",
                retry_after_s=_RETRY_AFTER_S,
            ) from error


def _answer(row: DeletionRow) -> Deletion:
    return Deletion(
        deletion_id=row.deletion_id,
        state="done" if row.is_finished else "running",
        requested_at=row.requested_at,
        finished_at=row.finished_at if row.is_finished else None,
    )
