"""POST /query/catalog: HTTP only."""

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.endpoints import BASE_PATH
from services.query.catalog.builder import CatalogBuilder
from services.query.catalog.read import parse_catalog, read_catalog
from services.query.execution.executor import SECONDS
from services.query.execution.turns import StoreTurns
from services.query.http.answers import Answers
from services.query.http.requests import project_of, query_body
from services.runtime.keys import KeyCache
from services.runtime.waited_for import while_waited_for


class CatalogRoutes:
    """For projects whose key has the scope `query`."""

    def __init__(self, turns: StoreTurns, builder: CatalogBuilder, answers: Answers, keys: KeyCache) -> None:
        self._turns = turns
        self._builder = builder
        self._answers = answers
        self._keys = keys

    def routes(self) -> list[Route]:
        return [Route(f"{BASE_PATH}/query/catalog", while_waited_for(self.catalog), methods=["POST"])]

    async def catalog(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        query, warnings = parse_catalog(await query_body(request))
        with SECONDS.labels("catalog").time():
            building = not await self._builder.is_up_to_date()
            result = await self._turns.run(
                project_id, lambda store: read_catalog(store, project_id, query, building=building)
            )
        result.warnings = warnings or UNSET
        return self._answers.answer(request, project_id, "catalog", result)
