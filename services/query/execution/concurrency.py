"""Turns: so many queries of a project run at once, the others wait in a queue."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import Gauge

from services.contract.api.errors import ApiError, ErrorCode
from services.query.execution.limits import Limits

RUNNING = Gauge("headrace_query_running", "Queries that the store works on.")
QUEUED = Gauge("headrace_query_queued", "Queries that wait for others.")


class _Project:
    """The queries of one project under way. `asked` counts the running and the waiting."""

    def __init__(self, concurrency: int) -> None:
        self.slots = asyncio.Semaphore(concurrency)
        self.asked = 0


class ProjectQueues:
    """Lets so many queries of a project run at once, and so many wait; of all projects so many run at once."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._projects: dict[str, _Project] = {}
        # In the order in which they asked: no project has more in it than may run at once.
        self._in_all = asyncio.Semaphore(limits.concurrency_in_all)

    @asynccontextmanager
    async def turn(self, project_id: str) -> AsyncIterator[None]:
        """Wait for a turn. Raises ApiError 429 when too many of the project wait, 503 when its turn does not come in time."""
        limits = self._limits
        project = self._projects.setdefault(project_id, _Project(limits.concurrency))
        if project.asked >= limits.concurrency + limits.queue:
            raise self.too_many()
        project.asked += 1
        try:
            async with AsyncExitStack() as held:
                await self._wait(project.slots, held, self.too_many)
                await self._wait(self._in_all, held, self._busy)
                with RUNNING.track_inprogress():
                    yield
        finally:
            project.asked -= 1
            if project.asked == 0:
                self._projects.pop(project_id, None)

    async def _wait(self, slots: asyncio.Semaphore, held: AsyncExitStack, refusal: Callable[[], ApiError]) -> None:
        try:
            with QUEUED.track_inprogress():
                async with asyncio.timeout(self._limits.execution_s):
                    await held.enter_async_context(slots)
        except TimeoutError as error:
            raise refusal() from error

    def too_many(self) -> ApiError:
        return ApiError(
            ErrorCode.RATE_LIMITED,
            f"Too many queries of this project at once: {self._limits.concurrency} run and "
            f"{self._limits.queue} wait. Ask again later, or ask fewer at a time.",
            retry_after_s=self._retry_after_s,
        )

    def _busy(self) -> ApiError:
        return ApiError(
            ErrorCode.STORE_UNAVAILABLE,
            f"Too many queries of all projects at once: {self._limits.concurrency_in_all} run. Ask again later.",
            retry_after_s=self._retry_after_s,
        )

    @property
    def _retry_after_s(self) -> int:
        return max(1, round(self._limits.execution_s / 4))
