"""What answers each kind of question, and how a question gets its turn."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET

from services.contract.api.funnel import FunnelAnswer
from services.contract.api.trends import TrendsAnswer
from services.contract.people import CohortAnswer
from services.contract.questions import EventsAnswer, PathAnswer, RetentionAnswer
from services.query.execution.executor import SECONDS, ProjectQueues, QuestionStore
from services.query.execution.materialized_columns import PromotedProperties
from services.query.insights.cohort import answer_cohort
from services.query.insights.events import answer_events
from services.query.insights.funnel import answer_funnel
from services.query.insights.path import answer_path
from services.query.insights.retention import answer_retention
from services.query.insights.trends import answer_trends
from services.query.request.decode import Question
from services.query.sql.properties import NONE_PROMOTED, Promoted
from services.runtime.clickhouse import UnknownColumnError

Answer = EventsAnswer | RetentionAnswer | PathAnswer | FunnelAnswer | TrendsAnswer | CohortAnswer

# By the kinds of questions that parse.py knows.
ANSWERS: dict[str, Callable[[QuestionStore, str, Any, Promoted], Awaitable[Answer]]] = {
    "events": answer_events,
    "cohort": answer_cohort,
    "retention": answer_retention,
    "path": answer_path,
    "funnel": answer_funnel,
    "trends": answer_trends,
}


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
            return await ANSWERS[kind](self._store, project_id, question, self._promoted.keys)
        except UnknownColumnError:
            # Demoted since the columns were listed, or not yet there on a replica; the whole text is always there.
            return await ANSWERS[kind](self._store, project_id, question, NONE_PROMOTED)
