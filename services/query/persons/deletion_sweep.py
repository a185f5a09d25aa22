"""Deletes what came in late of people that were deleted. No query shows it in the meantime.

Reads what was received since the last sweep, of projects that have deletions, and no more. How far it came is kept in the
table `deletion_sweeps`.
"""

import asyncio
import time
from collections import defaultdict

from services.contract.deletions import covered_sql
from services.contract.log.marks import MARK_PLACE
from services.contract.tables import DELETED_IDS, DELETION_SWEEPS, EVENTS, IDENTITY_LOG
from services.query.persons.deletion_log import DeletionLog, LogUnavailableError
from services.query.persons.deletion_queue import MUTATIONS, DeletionQueues, NotMineError
from services.query.persons.rewriting import MAX_IDS, DeletedId
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.logs import get_logger

log = get_logger(__name__)
# What was received so long ago is in the log, whatever an edge's clock says.
_SETTLED_S = 60
# Clocks of edges may be behind by so much.
_SKEW_S = 3600
_LOOK_S = 0.5
_STORED_WITHIN_S = 120.0
# Nobody's project: the queue of those who sweep.
_SWEEPERS = ""
_DELETED = (
    f"(SELECT project_id, distinct_hash, max(before) AS before FROM {DELETED_IDS} WHERE settled "
    "GROUP BY project_id, distinct_hash)"
)


def _late(table: str, column: str) -> str:
    return f"""
        SELECT e.project_id AS project_id, e.{column} AS distinct_hash, toUnixTimestamp64Micro(any(d.before)) AS before_us
        FROM {table} AS e INNER JOIN {_DELETED} AS d ON d.project_id = e.project_id AND d.distinct_hash = e.{column}
        WHERE e.received_at > fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')
            AND e.received_at <= fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')
            AND e.project_id IN (SELECT project_id FROM {DELETED_IDS}) AND {covered_sql("d.before", "e.")}
        GROUP BY e.project_id, e.{column}
    """


_LATE_SQL = (
    "SELECT project_id, distinct_hash, any(before_us) FROM ("
    f"{_late(EVENTS, 'distinct_hash')} UNION ALL {_late(IDENTITY_LOG, 'distinct_hash')} "
    f"UNION ALL {_late(IDENTITY_LOG, 'old_hash')}) GROUP BY project_id, distinct_hash"
)


class DeletionSweep:
    def __init__(self, store: ClickHouse, event_log: DeletionLog, queues: DeletionQueues, every_s: float) -> None:
        self._store = store
        self._log = event_log
        self._queues = queues
        self._every_s = every_s

    async def run_forever(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                log.info("deletions_swept", people=await self.sweep())
            except (StoreError, LogUnavailableError) as error:
                log.warning("deletions_not_swept", reason=str(error)[:500])
            except NotMineError:
                pass  # another service sweeps

    async def sweep(self, settled_s: int = _SETTLED_S) -> int:
        """How many ids had something that was late. Raises StoreError, LogUnavailableError, NotMineError."""
        if not await self._store.rows(f"SELECT 1 FROM {DELETED_IDS} LIMIT 1"):
            return 0
        await self._queues.own(_SWEEPERS)
        ((until_us,),) = await self._store.rows(f"SELECT toUnixTimestamp64Micro(now64(6)) - {settled_s * 1_000_000:d}")
        places = await self._log.mark(MARK_PLACE)
        deadline = time.monotonic() + _STORED_WITHIN_S
        while not await self._log.is_past(places):
            if time.monotonic() > deadline:
                raise LogUnavailableError("the workers are behind; what is late is looked for the next time")
            await asyncio.sleep(_LOOK_S)
        ((since_us,),) = await self._store.rows(
            f"SELECT toUnixTimestamp64Micro(max(swept_until)) FROM {DELETION_SWEEPS}"
        )
        asked = {"since": since_us - _SKEW_S * 1_000_000, "until": until_us}
        late: defaultdict[str, list[DeletedId]] = defaultdict(list)
        for project_id, distinct_hash, before_us in await self._store.rows(_LATE_SQL, asked):
            late[project_id].append(DeletedId(distinct_hash, before_us, 0))
        for project_id, ids in late.items():
            await self._delete(project_id, ids, until_us)
        await self._store.command(
            f"INSERT INTO {DELETION_SWEEPS} (swept_until) SELECT fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')",
            asked,
        )
        await self._queues.leave(_SWEEPERS)
        return sum(map(len, late.values()))

    async def _delete(self, project_id: str, ids: list[DeletedId], until_us: int) -> None:
        rewriting = self._queues.rewriting(project_id)
        for at in range(0, len(ids), MAX_IDS):
            MUTATIONS.inc(await rewriting.begin(ids[at : at + MAX_IDS], [], until_us))
            while await rewriting.under_way():
                await asyncio.sleep(_LOOK_S)
                await self._queues.own(_SWEEPERS)
