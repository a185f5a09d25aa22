"""How a query of any kind gets its turn, and its result."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import UNSET

from services.query.execution.executor import SECONDS, QueryExecutor
from services.query.execution.materialized_columns import MaterializedColumns
from services.query.execution.turns import StoreTurns
from services.query.insights.registry import INSIGHTS, Asked, Result
from services.query.sql.parameters import NONE_PROMOTED, Promoted
from services.runtime.clickhouse import UnknownColumnError

T = TypeVar("T")


class InsightRunner:
    """Runs queries, each in its project's turn and with its share of memory."""

    def __init__(self, turns: StoreTurns, columns: MaterializedColumns) -> None:
        self._turns = turns
        self._columns = columns

    async def run(self, project_id: str, asked: Asked, warnings: Sequence[str] = ()) -> Result:
        """The result of a query, with what was ignored of its body. Raises ApiError, StoreError."""
        insight = INSIGHTS[asked.kind]
        result: Result = await self.read(
            project_id, asked.kind, lambda store, promoted: insight.run(store, project_id, asked.spec, promoted)
        )
        if asked.window is not None:
            result.window = asked.window
        if asked.before is not None:
            result.previous = await self.run(project_id, asked.before)
        result.warnings = list(warnings) or UNSET
        return result

    async def read(self, project_id: str, name: str, work: Callable[[QueryExecutor, Promoted], Awaitable[T]]) -> T:
        """What `work` gives in the project's turn, with the properties that have a column; it may be called again."""

        async def run(store: QueryExecutor) -> T:
            try:
                return await work(store, self._columns.keys)
            except UnknownColumnError:
                # Demoted since the columns were listed, or not yet there on a replica; the whole text is always there.
                return await work(store, NONE_PROMOTED)

        with SECONDS.labels(name).time():
            return await self._turns.run(project_id, run)
