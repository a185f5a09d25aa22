"""The calls of saved cohorts: HTTP only."""

import asyncio

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.cohorts import CohortList
from services.contract.api.dashboards import Deleted
from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import MAX_COHORT_NAME_CHARS
from services.contract.api.validation import invalid_field
from services.query.cohorts.repository import SavedCohorts
from services.query.cohorts.request import parse_saved_cohort
from services.query.execution.executor import SECONDS
from services.query.http.answers import Answers
from services.query.http.requests import MAX_BODY_BYTES, project_of, query_body
from services.runtime.clock import Clock
from services.runtime.http import json_response
from services.runtime.keys import KeyCache

# A million ids of some 60 characters.
MAX_UPLOAD_BYTES = 64 * 1024 * 1024
_UPLOADS_AT_ONCE = 2
_RETRY_AFTER_S = 5


class CohortRoutes:
    """For projects whose key has the scope `query`."""

    def __init__(self, cohorts: SavedCohorts, answers: Answers, keys: KeyCache, clock: Clock) -> None:
        self._cohorts = cohorts
        self._answers = answers
        self._keys = keys
        self._clock = clock
        self._uploads = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    def routes(self) -> list[Route]:
        one = f"{BASE_PATH}/cohorts/{{name:path}}"
        return [
            Route(f"{BASE_PATH}/cohorts", self.list, methods=["GET"]),
            Route(one, self.save, methods=["PUT"]),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
        ]

    async def save(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        name = _name(request)
        if _is_small(request):
            return await self._save(request, project_id, name, MAX_BODY_BYTES)
        if self._uploads.locked():
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                f"{_UPLOADS_AT_ONCE} long lists are being saved already. Send it again later.",
                retry_after_s=_RETRY_AFTER_S,
            )
        async with self._uploads:
            return await self._save(request, project_id, name, MAX_UPLOAD_BYTES)

    async def _save(self, request: Request, project_id: str, name: str, max_bytes: int) -> Response:
        body = await query_body(request, max_bytes, "Save the list as several cohorts, and join them with `or`.")
        new, warnings = await asyncio.to_thread(parse_saved_cohort, body, self._clock())
        del body
        with SECONDS.labels("cohort_save").time():
            saved = await self._cohorts.save(project_id, name, new, self._clock())
        saved.warnings = warnings or UNSET
        return self._answers.json(project_id, saved)

    async def get(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        name = _name(request)
        with SECONDS.labels("cohort_get").time():
            found = await self._cohorts.get(project_id, name)
        if found is None:
            raise ApiError(ErrorCode.NOT_FOUND, "This project has no such saved cohort. See GET /cohorts.")
        return self._answers.json(project_id, found)

    async def list(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        with SECONDS.labels("cohort_list").time():
            return self._answers.json(project_id, CohortList(items=await self._cohorts.all(project_id)))

    async def delete(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        name = _name(request)
        with SECONDS.labels("cohort_delete").time():
            await self._cohorts.delete(project_id, name, self._clock())
        return json_response(Deleted())


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not 1 <= len(name) <= MAX_COHORT_NAME_CHARS or "\0" in name:
        raise invalid_field("name", f"must have 1 to {MAX_COHORT_NAME_CHARS} characters, none of them NUL")
    return name


def _is_small(request: Request) -> bool:
    """Whether it says to be no larger than any query: it waits for no slow upload, whosever that is."""
    said = request.headers.get("content-length", "")
    return said.isdecimal() and len(said) <= len(str(MAX_BODY_BYTES)) and int(said) <= MAX_BODY_BYTES
