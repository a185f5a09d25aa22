"""How anything reaches the store: in its project's turn, and with its share of memory."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import TypeVar

from prometheus_client import Counter

from services.query.execution.concurrency import ProjectQueues
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.memory_shares import MemoryShares
from services.runtime.project_labels import ProjectLabels

T = TypeVar("T")
QUERIES = Counter("headrace_query_project_queries_total", "Reads of the store, by project.", ["project"])
SECONDS = Counter(
    "headrace_query_project_seconds_total", "Seconds for which the store worked on reads, by project.", ["project"]
)


class StoreTurns:
    """Belongs to one event loop."""

    def __init__(self, executor: QueryExecutor, limits: Limits) -> None:
        self._queues = ProjectQueues(limits)
        self._labels = ProjectLabels()
        self._memory = MemoryShares(executor, limits, self._queues.too_many)

    async def run(self, project_id: str, read: Callable[[QueryExecutor], Awaitable[T]]) -> T:
        """What `read` gives; it only reads, and may be called twice. Raises ApiError 429 and 503, and what it raises."""
        async with self.turn(project_id):
            started = perf_counter()
            try:
                return await self._memory.run(project_id, read)
            finally:
                label = self._labels.of(project_id)
                QUERIES.labels(label).inc()
                SECONDS.labels(label).inc(perf_counter() - started)

    def turn(self, project_id: str) -> AbstractAsyncContextManager[None]:
        """For what also writes."""
        return self._queues.turn(project_id)
