"""The query calls: HTTP only. What a body means and what its result is, says each insight."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.endpoints import BASE_PATH
from services.query.cohorts.repository import SavedCohorts
from services.query.http.answers import Answers
from services.query.http.requests import known_tags, project_of, query_body
from services.query.insights.registry import INSIGHTS, asked, decode_query
from services.query.insights.runner import InsightRunner
from services.runtime.clock import Clock
from services.runtime.keys import KeyCache
from services.runtime.waited_for import while_waited_for

Handler = Callable[[Request], Awaitable[Response]]


class QueryRoutes:
    """POST /query/<kind> for each kind of query."""

    def __init__(
        self, insights: InsightRunner, cohorts: SavedCohorts, answers: Answers, keys: KeyCache, clock: Clock
    ) -> None:
        self._cohorts = cohorts
        self._insights = insights
        self._clock = clock
        self._answers = answers
        self._keys = keys

    def routes(self) -> list[Route]:
        return [Route(f"{BASE_PATH}/query/{kind}", self._of_kind(kind), methods=["POST"]) for kind in INSIGHTS]

    def _of_kind(self, kind: str) -> Handler:
        async def ask(request: Request) -> Response:
            project_id = await project_of(request, self._keys)
            query, warnings = decode_query(kind, await query_body(request))
            query = await self._cohorts.put_in(project_id, query)
            now = self._clock()
            found = asked(kind, query, project_id, now)
            answer = await self._insights.answer(project_id, found, warnings, now, known_tags(request))
            return self._answers.tagged(request, project_id, kind, answer, INSIGHTS[kind].kind.result)

        return while_waited_for(ask)
