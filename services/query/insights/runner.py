"""How a query of any kind gets its turn, and its result."""

from msgspec import UNSET

from services.query.execution.concurrency import ProjectQueues
from services.query.execution.executor import SECONDS, QuestionStore
from services.query.execution.materialized_columns import PromotedProperties
from services.query.insights.registry import INSIGHTS, Answer, Question
from services.query.sql.parameters import NONE_PROMOTED
from services.runtime.clickhouse import UnknownColumnError


class Answers:
    """Answers questions, each in its project's turn. Raises ApiError and StoreError."""

    def __init__(self, store: QuestionStore, queues: ProjectQueues, promoted: PromotedProperties) -> None:
        self._store = store
        self._queues = queues
        self._promoted = promoted

    async def answer(self, project_id: str, kind: str, question: Question, warnings: list[str]) -> Answer:
        with SECONDS.labels(kind).time():
            async with self._queues.turn(project_id):
                answer = await self._ask(project_id, kind, question)
        answer.warnings = warnings or UNSET
        return answer

    async def _ask(self, project_id: str, kind: str, question: Question) -> Answer:
        try:
            return await INSIGHTS[kind].run(self._store, project_id, question, self._promoted.keys)
        except UnknownColumnError:
            # Demoted since the columns were listed, or not yet there on a replica; the whole text is always there.
            return await INSIGHTS[kind].run(self._store, project_id, question, NONE_PROMOTED)
