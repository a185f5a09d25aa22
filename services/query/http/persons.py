"""The calls about single people, and about deleting: HTTP only."""

from urllib.parse import unquote

from msgspec import UNSET
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_ID_CHARS
from services.contract.api.persons import MAX_FOUND_PEOPLE
from services.contract.api.timestamps import microseconds
from services.contract.api.validation import invalid_field
from services.query.execution.executor import SECONDS
from services.query.execution.turns import StoreTurns
from services.query.http.answers import Answers
from services.query.http.requests import idempotency_key, project_of, query_body, whole_number
from services.query.persons.deletions import Deletions
from services.query.persons.group import find_group
from services.query.persons.profile import find_person
from services.query.persons.request import parse_privacy_delete
from services.query.persons.search import search_people
from services.runtime.clock import Clock
from services.runtime.http import json_response
from services.runtime.keys import KeyCache, Scope
from services.runtime.waited_for import while_waited_for

_MAX_SEARCH_CHARS = 200
_FOUND_PEOPLE = 20
_GROUPS = "/groups/"


class PersonRoutes:
    """For projects whose key has the scope `query`. Deleting takes a key that has `ingest` too: a key that only reads must
    not be able to destroy."""

    def __init__(self, turns: StoreTurns, deletions: Deletions, answers: Answers, keys: KeyCache, clock: Clock) -> None:
        self._turns = turns
        self._answers = answers
        self._deletions = deletions
        self._keys = keys
        self._clock = clock

    def routes(self) -> list[Route]:
        # Ids may have slashes in them.
        return [
            Route(f"{BASE_PATH}/persons", while_waited_for(self.search), methods=["GET"]),
            Route(
                f"{BASE_PATH}{_GROUPS}{{group_type:path}}/{{group_key:path}}",
                while_waited_for(self.group),
                methods=["GET"],
            ),
            Route(f"{BASE_PATH}/persons/{{distinct_id:path}}", while_waited_for(self.person), methods=["GET"]),
            Route(f"{BASE_PATH}/privacy/delete", self.delete, methods=["POST"]),
            Route(f"{BASE_PATH}/privacy/delete/{{deletion_id}}", self.deletion, methods=["GET"]),
        ]

    async def person(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        distinct_id: str = request.path_params["distinct_id"]
        if not 1 <= len(distinct_id) <= MAX_ID_CHARS:
            raise ApiError(
                ErrorCode.INVALID_FIELD,
                f"`distinct_id` must have 1 to {MAX_ID_CHARS} characters.",
                field="distinct_id",
            )
        with SECONDS.labels("person").time():
            # No id holds NUL, and the store takes none.
            found = (
                None
                if "\0" in distinct_id
                else await self._turns.run(project_id, lambda store: find_person(store, project_id, distinct_id))
            )
        if found is None:
            raise ApiError(ErrorCode.NOT_FOUND, "Nothing is known of this id: it has no event and no identify.")
        return self._answers.json(project_id, found)

    async def search(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        search = request.query_params.get("search", "")
        if not 1 <= len(search) <= _MAX_SEARCH_CHARS or "\0" in search:
            raise invalid_field("search", f"must have 1 to {_MAX_SEARCH_CHARS} characters, none of them NUL")
        limit = whole_number(request, "limit", _FOUND_PEOPLE, MAX_FOUND_PEOPLE)
        now_us = microseconds(self._clock())
        with SECONDS.labels("person_search").time():
            found = await self._turns.run(
                project_id, lambda store: search_people(store, project_id, search, limit, now_us)
            )
        return self._answers.json(project_id, found)

    async def group(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        group_type, key = _group_of(request)
        with SECONDS.labels("group").time():
            found = (
                None
                if "\0" in group_type + key
                else await self._turns.run(project_id, lambda store: find_group(store, project_id, group_type, key))
            )
        if found is None:
            raise ApiError(ErrorCode.NOT_FOUND, "No `group` call of this project names such a group.")
        return self._answers.json(project_id, found)

    async def delete(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys, Scope.INGEST)
        new, warnings = parse_privacy_delete(await query_body(request))
        new = replace(new, idempotency_key=idempotency_key(request, new.idempotency_key, warnings))
        with SECONDS.labels("privacy_delete").time():
            deletion = await self._deletions.request(project_id, new, self._clock())
        deletion.warnings = warnings or UNSET
        return json_response(deletion)

    async def deletion(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys, Scope.INGEST)
        with SECONDS.labels("privacy_state").time():
            deletion = await self._deletions.get(project_id, request.path_params["deletion_id"])
        if deletion is None:
            raise ApiError(ErrorCode.NOT_FOUND, "This project has no such deletion.")
        return json_response(deletion)


def _group_of(request: Request) -> tuple[str, str]:
    """Type and key, of the address as it was sent: the first slash parts them, and one in a type is written `%2F`."""
    address: str = request.scope["raw_path"].decode("ascii", "replace")
    group_type, _, key = address.partition(_GROUPS)[2].partition("/")
    return unquote(group_type), unquote(key)
