"""What answers each kind of question, and how a question gets its turn."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET

from services.contract.funnel import FunnelAnswer
from services.contract.people import CohortAnswer
from services.contract.questions import EventsAnswer, PathAnswer, RetentionAnswer
from services.contract.trends import TrendsAnswer
from services.query.cohort import answer_cohort
from services.query.events import answer_events
from services.query.execute import SECONDS, ProjectQueues, QuestionStore
from services.query.funnel import answer_funnel
from services.query.parse import Question
from services.query.path import answer_path
from services.query.promoted import PromotedProperties
from services.query.property_columns import NONE_PROMOTED, Promoted
from services.query.retention import answer_retention
from services.query.trends import answer_trends
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
