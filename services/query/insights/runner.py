"""How a query of any kind gets its turn, and its result."""

from collections.abc import Sequence

from msgspec import UNSET

from services.query.execution.executor import SECONDS, QueryExecutor
from services.query.execution.materialized_columns import MaterializedColumns
from services.query.execution.turns import StoreTurns
from services.query.insights.registry import INSIGHTS, Asked, Result, Spec
from services.query.sql.parameters import NONE_PROMOTED
from services.runtime.clickhouse import UnknownColumnError


class InsightRunner:
    """Runs queries, each in its project's turn and with its share of memory."""

    def __init__(self, turns: StoreTurns, columns: MaterializedColumns) -> None:
        self._turns = turns
        self._columns = columns

    async def run(self, project_id: str, asked: Asked, warnings: Sequence[str] = ()) -> Result:
        """The result of a query, with what was ignored of its body. Raises ApiError, StoreError."""
        with SECONDS.labels(asked.kind).time():
            result = await self._turns.run(
                project_id, lambda executor: self._run_kind(executor, project_id, asked.kind, asked.spec)
            )
        if asked.window is not None:
            result.window = asked.window
        if asked.before is not None:
            result.previous = await self.run(project_id, asked.before)
        result.warnings = list(warnings) or UNSET
        return result

    async def _run_kind(self, executor: QueryExecutor, project_id: str, kind: str, spec: Spec) -> Result:
        try:
            return await INSIGHTS[kind].run(executor, project_id, spec, self._columns.keys)
        except UnknownColumnError:
            # Demoted since the columns were listed, or not yet there on a replica; the whole text is always there.
            return await INSIGHTS[kind].run(executor, project_id, spec, NONE_PROMOTED)
