"""Turns: so many queries of a project run at once, the others wait in a queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge

from services.contract.api.errors import ApiError, ErrorCode
from services.query.execution.limits import Limits

RUNNING = Gauge("headrace_query_running", "Queries that the store works on.")
QUEUED = Gauge("headrace_query_queued", "Queries that wait for others of their project.")


class _Project:
    """The queries of one project under way. `asked` counts the running and the waiting."""

    def __init__(self, concurrency: int) -> None:
        self.slots = asyncio.Semaphore(concurrency)
        self.asked = 0


class ProjectQueues:
    """Lets so many queries of a project run at once, and so many wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._projects: dict[str, _Project] = {}

    @asynccontextmanager
    async def turn(self, project_id: str) -> AsyncIterator[None]:
        """Wait for a turn. Raises ApiError 429 when too many wait, or when the turn does not come in time."""
        limits = self._limits
        project = self._projects.setdefault(project_id, _Project(limits.concurrency))
        if project.asked >= limits.concurrency + limits.queue:
            raise self._too_many()
        project.asked += 1
        try:
            await self._wait(project)
            try:
                with RUNNING.track_inprogress():
                    yield
            finally:
                project.slots.release()
        finally:
            project.asked -= 1
            if project.asked == 0:
                self._projects.pop(project_id, None)

    async def _wait(self, project: _Project) -> None:
        try:
            with QUEUED.track_inprogress():
                async with asyncio.timeout(self._limits.execution_s):
                    await project.slots.acquire()
        except TimeoutError as error:
            raise self._too_many() from error

    def _too_many(self) -> ApiError:
        return ApiError(
            ErrorCode.RATE_LIMITED,
            f"Too many queries of this project at once: {self._limits.concurrency} run and "
            f"{self._limits.queue} wait. Ask again later, or ask fewer at a time.",
            retry_after_s=max(1, round(self._limits.execution_s / 4)),
        )
