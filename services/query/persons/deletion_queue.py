"""Works off the deletions: a queue a project, many deletions at a time.

requested -> settled      a worker has met them in the log, and noted the people's ids; announced again if none does
          -> all stored   a mark in each partition of the events was passed: what was acknowledged before is in the table
          -> rewritten    one mutation a table, none of the project is under way any more, and no row is left
          -> ids read     windows only: workers have passed a second mark, and read their ids again: the keys are free
          -> finished

Each step may be repeated: after a crash another service begins a batch again, and finds it done or does it.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from prometheus_client import Counter, Gauge
from xxhash import xxh3_64_hexdigest

from services.contract.log.marks import MARK_IDS_CHANGED, MARK_PLACE
from services.contract.tables import DELETED_IDS, DELETION_QUEUES, DELETIONS
from services.query.persons.deletion_log import DeletionLog, LogUnavailableError
from services.query.persons.deletion_rows import DeletionRow, DeletionRows
from services.query.persons.rewriting import MAX_IDS, DeletedId, Rewriting, deleted_ids_of
from services.runtime.background import in_background
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import Clock
from services.runtime.logs import get_logger

log = get_logger(__name__)
WAITING = Gauge("headrace_query_waiting_deletions", "Deletions that are not done, as last looked at.")
MUTATIONS = Counter("headrace_query_mutations_total", "Mutations that deletions have begun in ClickHouse.")
DONE = Counter("headrace_query_deletions_total", "Deletions that were done.")

_LOOK_S = 0.5
# What nobody here has asked for may be waiting since another service died.
_LOOK_AROUND_S = 20.0
_AT_ONCE = 2000
# Requests come in a row: so many times the pause is waited for the end of one.
_LONGEST_ROW = 20
_SETTLING_S = 30.0
# As long as a service may take from the row in the table to the record in the log.
_TAKING_S = 10.0
# Workers may be away for hours; only a log that was lost needs it again.
_ANNOUNCE_AGAIN_S = 600.0
_OWNED_S = 30.0
_RENEW_S = 10.0
# After a mutation that has left rows where they were: somebody has to look after ClickHouse first.
_PASSED_OVER_S = 20.0
# When the log was cut, a mark may never be passed: begin again.
_MARK_S = 600.0

_IDS_SQL = f"""
    SELECT i.distinct_hash, toUnixTimestamp64Micro(max(i.before)), max(d.person_version) FROM (
        SELECT distinct_hash, before, deletion_id FROM {DELETED_IDS}
        WHERE project_id = {{project:String}} AND settled AND deletion_id IN {{deletions:Array(UUID)}}
    ) AS i INNER JOIN (
        SELECT deletion_id, person_version FROM {DELETIONS} FINAL WHERE project_id = {{project:String}}
    ) AS d USING (deletion_id) GROUP BY i.distinct_hash ORDER BY i.distinct_hash
"""


class NotMineError(Exception):
    """Another service works off this project's deletions, or a mark was not passed in time."""


class DeletionQueues:
    """`pause_s`: a batch begins when no deletion of its project was asked for during so long."""

    def __init__(self, store: ClickHouse, event_log: DeletionLog, clock: Clock, pause_s: float) -> None:
        self._store = store
        self._log = event_log
        self._clock = clock
        self._pause_s = pause_s
        self._rows = DeletionRows(store)
        self._owner = uuid.uuid4().hex
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._announced: dict[str, float] = {}
        self._owned_at: dict[str, float] = {}

    def announced(self, deletion_id: str) -> None:
        """A deletion was asked for, and is in the log."""
        self._announced[deletion_id] = time.monotonic()
        self._woken.set()

    async def run_forever(self) -> None:
        while True:
            self._woken.clear()
            try:
                is_idle = not await self._look() and not self._busy
            except StoreError as error:
                log.warning("deletions_not_looked_at", reason=str(error)[:500])
                is_idle = False
            if not is_idle:
                await asyncio.sleep(_LOOK_S)
                continue
            try:
                async with asyncio.timeout(_LOOK_AROUND_S):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def stop(self) -> None:
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _look(self) -> int:
        """Begin a batch of each project whose row of requests has ended. How many projects have something."""
        waiting = await self._rows.waiting()
        WAITING.set(sum(count for _, _, count in waiting.values()))
        if not waiting:
            self._announced.clear()
        now = self._clock()
        pause = timedelta(seconds=self._pause_s)
        for project_id, (first, last, _) in waiting.items():
            has_ended = now - last >= pause or now - first >= _LONGEST_ROW * pause
            if project_id not in self._busy and has_ended:
                self._busy[project_id] = in_background("deletions of a project", self._try(project_id))
        return len(waiting)

    async def _try(self, project_id: str) -> None:
        try:
            await self.own(project_id)
            await self._work_off(project_id)
            await self.leave(project_id)
        except NotMineError:
            pass
        except (StoreError, LogUnavailableError) as error:
            log.warning("deletions_not_done", reason=str(error)[:500])
            await asyncio.sleep(_LOOK_S)
        finally:
            self._busy.pop(project_id, None)
            self._woken.set()

    async def _work_off(self, project_id: str) -> None:
        """One batch. Raises NotMineError, StoreError, LogUnavailableError."""
        rows = await self._rows.unfinished(project_id, _AT_ONCE)
        unsettled = [row for row in rows if not row.is_settled]
        await self._announce_again(unsettled)
        batch = [row for row in rows if row.is_settled]
        # The last of a row of requests are settled a moment later: one mutation for all.
        is_soon = unsettled and self._clock() - unsettled[0].requested_at < timedelta(seconds=_SETTLING_S)
        if not batch or is_soon:
            await asyncio.sleep(_LOOK_S)
            return
        places = await self._log.mark(MARK_PLACE)
        await self._until(project_id, lambda: self._log.is_past(places))
        windows = [row for row in batch if not row.distinct_id]
        people = [row.deletion_id for row in batch if row.distinct_id]
        rewriting = self.rewriting(project_id)
        ids = (
            await deleted_ids_of(self._store, _IDS_SQL, {"project": project_id, "deletions": people}) if people else []
        )
        await self._until(project_id, lambda: _is_done(rewriting))
        for at in range(0, max(len(ids), 1), MAX_IDS):
            await self._rewrite(project_id, rewriting, ids[at : at + MAX_IDS], windows if at == 0 else [])
        if windows:
            changed = await self._log.mark(MARK_IDS_CHANGED)
            await self._until(project_id, lambda: self._log.is_past(changed))
        await self._finish(batch)

    async def _rewrite(
        self, project_id: str, rewriting: Rewriting, ids: Sequence[DeletedId], windows: Sequence[DeletionRow]
    ) -> None:
        """Until no row is left. Raises NotMineError, StoreError."""
        while begun := await rewriting.begin(ids, windows):
            MUTATIONS.inc(begun)
            log.info("deletions_rewriting", ids=len(ids), windows=len(windows), mutations=begun)
            await self._until(project_id, lambda: _is_done(rewriting))
            tables = await rewriting.passed_over(ids, windows)
            if not tables:
                return
            log.error("deletions_passed_over", tables=tables, mend="restart ClickHouse: see docs, Back up and restore")
            await asyncio.sleep(_PASSED_OVER_S)
            await self.own(project_id)

    def rewriting(self, project_id: str) -> Rewriting:
        return Rewriting(self._store, project_id, f"deletions of {xxh3_64_hexdigest(project_id.encode())}")

    async def _announce_again(self, rows: list[DeletionRow]) -> None:
        """Those that nobody has settled: the service that took them may have died before it had announced them."""
        for row in rows:
            at = self._announced.get(row.deletion_id)
            if at is None:
                is_due = self._clock() - row.requested_at > timedelta(seconds=_TAKING_S)
            else:
                is_due = time.monotonic() - at > _ANNOUNCE_AGAIN_S
            if is_due:
                await self._log.announce(row.line())
                self._announced[row.deletion_id] = time.monotonic()

    async def _finish(self, batch: list[DeletionRow]) -> None:
        finished_at: datetime = self._clock()
        for row in batch:
            row.finished_at = finished_at
            row.version += 1
            self._announced.pop(row.deletion_id, None)
        await self._rows.write(batch)
        DONE.inc(len(batch))
        log.info("deletions_done", deletions=len(batch))

    async def _until(self, project_id: str, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Raises NotMineError when it is not so after long."""
        give_up_at = time.monotonic() + _MARK_S
        while not await is_so():
            await asyncio.sleep(_LOOK_S)
            await self.own(project_id)
            if time.monotonic() > give_up_at:
                log.warning("deletions_take_long", project_id=project_id)
                give_up_at = time.monotonic() + _MARK_S
                if not await self._is_rewriting(project_id):
                    raise NotMineError

    async def _is_rewriting(self, project_id: str) -> bool:
        return await self.rewriting(project_id).under_way() > 0

    async def own(self, project_id: str) -> None:
        """Have the project's queue for a while. Two services that both believe so do the same work twice, and no more.
        Raises NotMineError, StoreError."""
        if time.monotonic() - self._owned_at.get(project_id, -_OWNED_S) < _RENEW_S:
            return
        rows = await self._store.rows(
            f"SELECT owner, until > now64(6) FROM {DELETION_QUEUES} FINAL WHERE project_id = {{project:String}}",
            {"project": project_id},
        )
        if rows and rows[0][1] and rows[0][0] != self._owner:
            raise NotMineError
        await self._own_for(project_id, _OWNED_S)
        self._owned_at[project_id] = time.monotonic()

    async def leave(self, project_id: str) -> None:
        """Whoever comes next need not wait."""
        self._owned_at.pop(project_id, None)
        await self._own_for(project_id, 0)

    async def _own_for(self, project_id: str, seconds: float) -> None:
        await self._store.command(
            f"INSERT INTO {DELETION_QUEUES} (project_id, owner, until, version) SELECT {{project:String}}, "
            f"{{owner:String}}, now64(6) + INTERVAL {seconds:.0f} SECOND, toUnixTimestamp64Micro(now64(6))",
            {"project": project_id, "owner": self._owner},
        )


async def _is_done(rewriting: Rewriting) -> bool:
    return await rewriting.under_way() == 0
