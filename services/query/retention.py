"""The retention question: who began in a period, and in which later periods they came back."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from services.contract.query_fields import Interval
from services.contract.questions import RetentionAnswer
from services.query.execute import QuestionStore
from services.query.periods import local_time, period_starts
from services.query.scope import Scope, scope_sql
from services.query.source import EVENTS_WITH_REPEATS, IN_WINDOW, window_parameters
from services.query.window import Window


class RetentionQuestion(Struct, frozen=True):
    """`starts` are the periods of the window."""

    born_event: str
    return_event: str
    window: Window
    interval: Interval
    starts: list[int]
    scope: Scope = Scope()

    @classmethod
    def of(
        cls, born_event: str, return_event: str, window: Window, interval: Interval, scope: Scope
    ) -> "RetentionQuestion":
        """Raises ApiError when the window holds too many periods."""
        return cls(born_event, return_event, window, interval, period_starts(window, interval), scope)


async def answer_retention(store: QuestionStore, project_id: str, question: RetentionQuestion) -> RetentionAnswer:
    rows = await store.rows(*retention_sql(project_id, question))
    return RetentionAnswer(
        matrix=_matrix(rows, question.starts),
        interval=question.interval,
        periods=[local_time(start, question.window.zone) for start in question.starts],
    )


def retention_sql(project_id: str, question: RetentionQuestion) -> tuple[str, dict[str, Any]]:
    """Rows (cohort, period, people), both as starts of periods; cohort = period is the cohort's size.

    A person is one row with a cohort and a set of periods, so an event that is stored twice changes nothing.
    """
    scope = scope_sql(question.scope)
    per_person = (
        "WITH roundDown(toUnixTimestamp64Micro(e.timestamp), {starts:Array(Int64)}) AS period "
        f"SELECT {scope.who} AS person, "
        "minIf(period, e.event = {born:String}) AS cohort, "
        "groupUniqArrayIf(period, e.event = {return:String}) AS returned "
        f"FROM {EVENTS_WITH_REPEATS} {scope.joins} "
        f"WHERE {IN_WINDOW} AND e.event IN ({{born:String}}, {{return:String}}){scope.where} "
        "GROUP BY person HAVING countIf(e.event = {born:String}) > 0"
    )
    return (
        "SELECT cohort, arrayJoin(arrayConcat([cohort], arrayFilter(p -> p > cohort, returned))) AS period, "
        f"count() AS people FROM ({per_person}) GROUP BY cohort, period"
    ), {
        **window_parameters(project_id, question.window),
        **scope.parameters,
        "born": question.born_event,
        "return": question.return_event,
        "starts": question.starts,
    }


def _matrix(rows: Sequence[Sequence[Any]], starts: Sequence[int]) -> list[list[int]]:
    """Row i has a number for every period from the i-th to the last."""
    place = {start: i for i, start in enumerate(starts)}
    matrix = [[0] * (len(starts) - i) for i in range(len(starts))]
    for cohort, period, people in rows:
        matrix[place[cohort]][place[period] - place[cohort]] = people
    return matrix
