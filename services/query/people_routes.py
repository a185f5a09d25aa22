"""The calls about single people: HTTP only."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.calls import BASE_PATH
from services.contract.errors import ApiError, ErrorCode
from services.contract.messages import MAX_ID_CHARS
from services.query.execute import SECONDS, ProjectQueues, QuestionStore
from services.query.person import find_person
from services.runtime.http import json_response
from services.runtime.keys import KeyCache, Scope


class PeopleRoutes:
    """For projects whose key has the scope `query`."""

    def __init__(self, store: QuestionStore, queues: ProjectQueues, keys: KeyCache) -> None:
        self._store = store
        self._queues = queues
        self._keys = keys

    def routes(self) -> list[Route]:
        # Ids may have slashes in them.
        return [Route(f"{BASE_PATH}/persons/{{distinct_id:path}}", self.person, methods=["GET"])]

    async def person(self, request: Request) -> Response:
        project_id = (await self._keys.authorize(request.headers.get("authorization"), Scope.QUERY)).project_id
        distinct_id: str = request.path_params["distinct_id"]
        if not 1 <= len(distinct_id) <= MAX_ID_CHARS:
            raise ApiError(
                ErrorCode.INVALID_FIELD,
                f"`distinct_id` must have 1 to {MAX_ID_CHARS} characters.",
                field="distinct_id",
            )
        with SECONDS.labels("person").time():
            async with self._queues.turn(project_id):
                # No id holds NUL, and the store takes none.
                found = None if "\0" in distinct_id else await find_person(self._store, project_id, distinct_id)
        if found is None:
            raise ApiError(ErrorCode.NOT_FOUND, "Nothing is known of this id: it has no event and no identify.")
        return json_response(found)
