"""POST /query/people: HTTP only."""

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError
from services.contract.api.people import PeopleResult
from services.query.cohorts.repository import SavedCohorts
from services.query.execution.executor import Known
from services.query.http.answers import Answers
from services.query.http.requests import known_tags, project_of, query_body
from services.query.insights.dependencies import key_of, months_read
from services.query.insights.registry import asked, decode_saved_query
from services.query.insights.runner import InsightRunner
from services.query.persons.people import decode_people, parse_people, run_people
from services.runtime.clock import Clock
from services.runtime.keys import KeyCache
from services.runtime.waited_for import while_waited_for


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
        return [Route(f"{BASE_PATH}/query/people", while_waited_for(self.people), methods=["POST"])]

    async def people(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        sent, warnings = decode_people(await query_body(request))
        try:
            kind, query, of_query = decode_saved_query(bytes(sent.query))
            now = self._clock()
            found = asked(kind, await self._cohorts.put_in(project_id, query), project_id, now)
        except ApiError as error:
            raise error.within("query") from error
        spec = parse_people(sent, found, query, project_id)
        named = [*warnings, *(f"query: {warning}" for warning in of_query)]

        async def list_people(data: Known) -> PeopleResult:
            result = await self._insights.read(
                project_id,
                "people",
                lambda store, promoted: run_people(store, project_id, spec, promoted),
                data,
            )
            result.warnings = named or UNSET
            return result

        # The traits of a page are in it, and of all times; the ids of people come from their events in the window.
        key = key_of(project_id, found, ("people", spec.identity, spec.limit, spec.after, named), now)
        answer = await self._insights.kept(project_id, key, months_read(found), list_people, known_tags(request))
        return self._answers.tagged(request, project_id, "people", answer, PeopleResult)
