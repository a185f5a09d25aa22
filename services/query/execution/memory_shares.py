"""How the memory of the store is shared among the queries that run: a large share is lent, all others have a small one.

the large share is free     -> the query runs with it
it is lent                  -> the query runs with a small one; most need no more
the small one was too small -> it waits for the large one and runs again

A project has one large share at a time, and waits behind the others when it has had one.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from prometheus_client import Counter

from services.contract.api.errors import ApiError
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.runtime.clickhouse import LimitExceededError

T = TypeVar("T")

RUN_AGAIN = Counter("headrace_query_run_again_total", "Queries that needed more than the small share of memory.")


class MemoryShares:
    """Belongs to one event loop. `busy` makes the error for a query that gets no large share in time."""

    def __init__(self, executor: QueryExecutor, limits: Limits, busy: Callable[[], ApiError]) -> None:
        self._limits = limits
        self._large, self._small = executor, executor.with_memory(limits.small_memory_bytes)
        self._busy = busy
        self._free = limits.large_shares
        self._borrowers: set[str] = set()
        # By project; the first project is the next.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, project_id: str, work: Callable[[QueryExecutor], Awaitable[T]]) -> T:
        """What `work` gives with an executor; it may be called twice. Raises what it raises, and ApiError 429."""
        if self._may_borrow(project_id):
            async with self._borrowed(project_id):
                return await work(self._large)
        try:
            return await work(self._small)
        except LimitExceededError as error:
            if not error.is_memory or self._limits.small_memory_bytes >= self._limits.memory_bytes:
                raise
        RUN_AGAIN.inc()
        async with self._borrowed(project_id):
            return await work(self._large)

    def _may_borrow(self, project_id: str) -> bool:
        return self._free > 0 and project_id not in self._borrowers

    @asynccontextmanager
    async def _borrowed(self, project_id: str) -> AsyncIterator[None]:
        if self._may_borrow(project_id):
            self._borrow(project_id)
        else:
            await self._wait(project_id)
        try:
            yield
        finally:
            self._give_back(project_id)

    async def _wait(self, project_id: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project_id, deque()).append(turn)
        try:
            async with asyncio.timeout(self._limits.execution_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(project_id)  # it was lent and not used
            if isinstance(error, TimeoutError):
                raise self._busy() from error
            raise

    def _borrow(self, project_id: str) -> None:
        self._free -= 1
        self._borrowers.add(project_id)

    def _give_back(self, project_id: str) -> None:
        self._free += 1
        self._borrowers.discard(project_id)
        if project_id in self._waiting:
            self._waiting.move_to_end(project_id)
        self._lend()

    def _lend(self) -> None:
        """To the first who waits of each project in turn, as long as there is a share and the project has none."""
        for project_id in [each for each in self._waiting if each not in self._borrowers]:
            turns = self._waiting[project_id]
            while turns and turns[0].done():
                turns.popleft()
            if turns and self._free:
                self._borrow(project_id)
                turns.popleft().set_result(None)
            if not turns:
                del self._waiting[project_id]
