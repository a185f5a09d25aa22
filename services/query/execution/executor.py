"""Runs a query's SQL in ClickHouse, read only and within its limits."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import Histogram

from services.contract.tables import EVENTS
from services.query.execution.limits import Limits
from services.query.execution.project_facts import ProjectFacts
from services.query.sql.events import KEPT, NOT_DELETED, with_border, with_joined_deletions, without_deletions
from services.query.sql.events import SETTINGS as EVENTS_SETTINGS
from services.runtime.clickhouse import (
    ClickHouse,
    LimitExceededError,
    Parameters,
    Settings,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from services.runtime.cluster import of_each_shard, own_table, settings_within, settings_without_missing
from services.runtime.metrics import FormerName

T = TypeVar("T")
SECONDS = Histogram(
    "headrace_query_duration_seconds",
    "From the start of a query to its result, time in the queue included.",
    ["query"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)
FormerName("headrace_query_seconds", SECONDS, {"query": "question"})
# How long the store may take to notice its own limit before we stop listening.
_GRACE_S = 2.0
_TIMEOUT_EXCEEDED = 159
# For longer than a shard may be silent.
_REASON_S = 15.0


class Known(Struct, frozen=True):
    """What is known of the data when a query is asked. Where nothing is known, answers are the same and take longer."""

    nothing_deleted: bool = False
    fresh: bool = False


NOTHING_KNOWN = Known()


class QueryExecutor:
    """ClickHouse for queries: reads only, and every query has its limits. Raises StoreError and its kinds."""

    def __init__(self, store: ClickHouse, limits: Limits, facts: ProjectFacts) -> None:
        self._store = store
        self._limits = limits
        self._facts = facts
        self._known = NOTHING_KNOWN
        self.memory_bytes = limits.memory_bytes
        self._timeout_s = limits.execution_s + _GRACE_S
        self._settings: Settings = {
            "readonly": 2,
            "max_execution_time": limits.execution_s,
            "max_memory_usage": limits.memory_bytes,
            "max_rows_to_read": limits.rows,
            # A query whose caller has gone (or was told that it takes too long) is stopped.
            "cancel_http_readonly_queries_on_client_close": 1,
            # Larger results are refused before they come here.
            "max_result_bytes": limits.result_bytes,
            "result_overflow_mode": "throw",
            # What shards send each other: to compress it costs more than a network of 10 Gbit/s does.
            "network_compression_method": "NONE",
            # A shard is sent a statement with all names put in: of four steps that are alike, in any order, 50,000 parts.
            "max_ast_elements": 500_000,
            **EVENTS_SETTINGS,
        }

    @property
    def own_events(self) -> str:
        """The table with what the server itself has that is asked: on a cluster, with the events of its shard."""
        return own_table(EVENTS, self._store.cluster)

    def without_missing_shards(self) -> "QueryExecutor":
        """The same, and what a shard would have said that is away is left out."""
        executor = copy.copy(self)
        executor._settings = {
            **self._settings,
            **settings_without_missing(self._store.cluster, self._limits.execution_s),
        }
        return executor

    def knowing(self, known: Known) -> "QueryExecutor":
        executor = copy.copy(self)
        executor._known = known
        return executor

    @property
    def is_fresh(self) -> bool:
        """Whether many events that are asked for have not been merged yet."""
        return self._known.fresh

    def with_memory(self, memory_bytes: int) -> "QueryExecutor":
        """The same with another limit of memory."""
        return QueryExecutor(self._store, replace(self._limits, memory_bytes=memory_bytes), self._facts)

    async def rows(self, sql: str, parameters: Parameters) -> list[Sequence[Any]]:
        return await self._ask(sql, parameters, lambda text, values: self._store.rows(text, values, self._usual()))

    async def raw(self, sql: str, parameters: Parameters, fmt: str) -> bytes:
        """The whole answer or an error: ClickHouse would else append an error that comes late to the bytes."""
        settings = {**self._usual(), "wait_end_of_query": 1}
        return await self._ask(sql, parameters, lambda text, values: self._store.raw(text, values, settings, fmt))

    async def _ask(self, sql: str, parameters: Parameters, send: Callable[[str, Parameters], Awaitable[T]]) -> T:
        return await self._in_time(send(*await self._filled(sql, parameters)))

    def _usual(self) -> Settings:
        return {**settings_within(self._store.cluster, self._limits.execution_s), **self._settings}

    async def _in_time(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError as error:
            late = LimitExceededError(f"no answer within {self._timeout_s} s")
            raise await self._reason(late) from error
        except LimitExceededError as error:
            if error.code != _TIMEOUT_EXCEEDED:
                raise
            raise await self._reason(error) from error

    async def _reason(self, late: LimitExceededError) -> StoreError:
        """A shard that hangs uses up the time of a query that is not too expensive."""
        if self._store.cluster:
            try:
                async with asyncio.timeout(_REASON_S):
                    await self._store.rows(f"SELECT 1 FROM {of_each_shard(self._store.cluster, 'system.one')}")
            except StoreUnavailableError as away:
                return away
            except TimeoutError:
                return StoreTimeoutError("no answer in time")
        return late

    async def _filled(self, sql: str, parameters: Parameters) -> tuple[str, Parameters]:
        """The statement as this project needs it now."""
        if KEPT in sql:
            sql, parameters = with_border(sql, parameters, await self._facts.kept_since_us(parameters["project"]))
        if self._known.nothing_deleted:
            sql = without_deletions(sql)
        elif NOT_DELETED in sql and self._facts.has_many_deleted(parameters["project"]):
            sql = with_joined_deletions(sql)
        return sql, parameters
