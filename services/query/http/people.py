"""POST /query/people: HTTP only."""

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError
from services.query.cohorts.repository import SavedCohorts
from services.query.http.answers import Answers
from services.query.http.requests import project_of, query_body
from services.query.insights.registry import asked, decode_saved_query
from services.query.insights.runner import InsightRunner
from services.query.persons.people import decode_people, parse_people, run_people
from services.runtime.clock import Clock
from services.runtime.keys import KeyCache


class PeopleRoutes:
    """For projects whose key has the scope `query`."""

    def __init__(
        self, insights: InsightRunner, cohorts: SavedCohorts, answers: Answers, keys: KeyCache, clock: Clock
    ) -> None:
        self._cohorts = cohorts
        self._insights = insights
        self._answers = answers
        self._keys = keys
        self._clock = clock

    def routes(self) -> list[Route]:
        return [Route(f"{BASE_PATH}/query/people", self.people, methods=["POST"])]

    async def people(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        sent, warnings = decode_people(await query_body(request))
        try:
            kind, query, of_query = decode_saved_query(bytes(sent.query))
            found = asked(kind, await self._cohorts.put_in(project_id, query), project_id, self._clock())
        except ApiError as error:
            raise error.within("query") from error
        spec = parse_people(sent, found, query, project_id)
        result = await self._insights.read(
            project_id, "people", lambda store, promoted: run_people(store, project_id, spec, promoted)
        )
        result.warnings = [*warnings, *(f"query: {warning}" for warning in of_query)] or UNSET
        return self._answers.answer(request, project_id, "people", result)
