"""How questions get at the store: so many of a project at once, the others in a queue; limits on each query."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct
from prometheus_client import Gauge, Histogram

from services.contract.api.errors import ApiError, ErrorCode
from services.query.sql import events as source
from services.runtime.clickhouse import ClickHouse, LimitExceededError, Parameters, Settings
from services.runtime.settings import QuerySettings

SECONDS = Histogram(
    "headrace_query_seconds",
    "From the start of a question to its answer, time in the queue included.",
    ["question"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)
RUNNING = Gauge("headrace_query_running", "Questions that the store works on.")
QUEUED = Gauge("headrace_query_queued", "Questions that wait for others of their project.")

# How long the store may take to notice its own limit before we stop listening.
_GRACE_S = 2.0


class Limits(Struct, frozen=True):
    """Of one query in the store, and of one project's questions."""

    execution_s: float
    memory_bytes: int
    rows: int
    concurrency: int
    queue: int

    @classmethod
    def of(cls, settings: QuerySettings) -> "Limits":
        return cls(
            settings.query_max_execution_s,
            settings.query_max_memory_bytes,
            settings.query_max_rows,
            settings.query_concurrency_per_project,
            settings.query_queue_per_project,
        )


class QuestionStore:
    """ClickHouse for questions: reads only, and every query has its limits. Raises StoreError and its kinds."""

    def __init__(self, store: ClickHouse, limits: Limits) -> None:
        self._store = store
        self._timeout_s = limits.execution_s + _GRACE_S
        self._settings: Settings = {
            "readonly": 2,
            "max_execution_time": limits.execution_s,
            "max_memory_usage": limits.memory_bytes,
            "max_rows_to_read": limits.rows,
            # A query whose caller has gone (or was told that it takes too long) is stopped.
            "cancel_http_readonly_queries_on_client_close": 1,
            **source.SETTINGS,
        }

    async def rows(self, sql: str, parameters: Parameters) -> list[Sequence[Any]]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._store.rows(sql, parameters, self._settings)
        except TimeoutError as error:
            raise LimitExceededError(f"no answer within {self._timeout_s} s") from error

    async def raw(self, sql: str, parameters: Parameters, fmt: str) -> bytes:
        """The whole answer or an error: ClickHouse would else append an error that comes late to the bytes."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._store.raw(sql, parameters, {**self._settings, "wait_end_of_query": 1}, fmt)
        except TimeoutError as error:
            raise LimitExceededError(f"no answer within {self._timeout_s} s") from error


class _Project:
    """The questions of one project under way. `asked` counts the running and the waiting."""

    def __init__(self, concurrency: int) -> None:
        self.slots = asyncio.Semaphore(concurrency)
        self.asked = 0


class ProjectQueues:
    """Lets so many questions of a project run at once, and so many wait."""

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
            f"Too many questions of this project at once: {self._limits.concurrency} run and "
            f"{self._limits.queue} wait. Ask again later, or ask fewer at a time.",
            retry_after_s=max(1, round(self._limits.execution_s / 4)),
        )
