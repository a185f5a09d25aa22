"""How anything reaches the store: in its project's turn, and with its share of memory."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from services.query.execution.concurrency import ProjectQueues
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.memory_shares import MemoryShares

T = TypeVar("T")


class StoreTurns:
    """Belongs to one event loop."""

    def __init__(self, executor: QueryExecutor, limits: Limits) -> None:
        self._queues = ProjectQueues(limits)
        self._memory = MemoryShares(executor, limits, self._queues.too_many)

    async def run(self, project_id: str, read: Callable[[QueryExecutor], Awaitable[T]]) -> T:
        """What `read` gives; it only reads, and may be called twice. Raises ApiError 429 and 503, and what it raises."""
        async with self.turn(project_id):
            return await self._memory.run(project_id, read)

    def turn(self, project_id: str) -> AbstractAsyncContextManager[None]:
        """For what also writes."""
        return self._queues.turn(project_id)
