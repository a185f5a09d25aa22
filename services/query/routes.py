"""The query calls: HTTP only. What a body means is parse's; what the answer is, each question's."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.calls import BASE_PATH
from services.contract.errors import ApiError, ErrorCode
from services.contract.funnel import FunnelAnswer
from services.contract.messages import MAX_IDEMPOTENCY_KEY_CHARS
from services.contract.people import CohortAnswer
from services.contract.questions import MAX_PAGE_DASHBOARDS, Deleted, EventsAnswer, PathAnswer, RetentionAnswer
from services.contract.trends import TrendsAnswer
from services.query.cohort import answer_cohort
from services.query.dashboards import Dashboards
from services.query.events import answer_events
from services.query.execute import SECONDS, ProjectQueues, QuestionStore
from services.query.funnel import answer_funnel
from services.query.parse import NewDashboard, parse_dashboard, parse_delete, parse_question
from services.query.path import answer_path
from services.query.retention import answer_retention
from services.query.trends import answer_trends
from services.runtime.clock import Clock
from services.runtime.http import json_response, receive_body
from services.runtime.keys import KeyCache, Scope

MAX_BODY_BYTES = 1024 * 1024

Handler = Callable[[Request], Awaitable[Response]]

Answer = EventsAnswer | RetentionAnswer | PathAnswer | FunnelAnswer | TrendsAnswer | CohortAnswer
# What answers each kind of question that parse.py knows.
_ANSWERS: dict[str, Callable[[QuestionStore, str, Any], Awaitable[Answer]]] = {
    "events": answer_events,
    "retention": answer_retention,
    "path": answer_path,
    "cohort": answer_cohort,
    "funnel": answer_funnel,
    "trends": answer_trends,
}


class QueryRoutes:
    """The questions and the dashboards' calls, for projects whose key has the scope `query`."""

    def __init__(
        self, store: QuestionStore, queues: ProjectQueues, dashboards: Dashboards, keys: KeyCache, clock: Clock
    ) -> None:
        self._store = store
        self._queues = queues
        self._dashboards = dashboards
        self._keys = keys
        self._clock = clock

    def routes(self) -> list[Route]:
        calls: list[tuple[str, str, Handler]] = [
            *[("POST", f"query/{kind}", self.question(kind)) for kind in _ANSWERS],
            ("POST", "dashboard/create", self.dashboard_create),
            ("GET", "dashboard/get/{dashboard_id}", self.dashboard_get),
            ("GET", "dashboard/list", self.dashboard_list),
            ("DELETE", "dashboard/delete/{dashboard_id}", self.dashboard_delete),
        ]
        return [Route(f"{BASE_PATH}/{path}", call, methods=[method]) for method, path, call in calls]

    def question(self, kind: str) -> Handler:
        """The handler of one kind of question."""

        async def ask(request: Request) -> Response:
            project_id = await self._project(request)
            question, warnings = parse_question(kind, await _body(request), project_id)
            with SECONDS.labels(kind).time():
                async with self._queues.turn(project_id):
                    answer = await _ANSWERS[kind](self._store, project_id, question)
            answer.warnings = warnings or UNSET
            return json_response(answer)

        return ask

    async def dashboard_create(self, request: Request) -> Response:
        project_id = await self._project(request)
        new, warnings = parse_dashboard(await _body(request), project_id)
        if new.idempotency_key is None:
            new = NewDashboard(new.name, new.queries, _idempotency_header(request))
        with SECONDS.labels("dashboard_create").time():
            dashboard = await self._dashboards.create(project_id, new, self._clock())
        dashboard.warnings = warnings or UNSET
        return json_response(dashboard)

    async def dashboard_get(self, request: Request) -> Response:
        project_id = await self._project(request)
        with SECONDS.labels("dashboard_get").time():
            dashboard = await self._dashboards.get(project_id, request.path_params["dashboard_id"])
        if dashboard is None:
            raise ApiError(ErrorCode.NOT_FOUND, "This project has no such dashboard. See GET /dashboard/list.")
        return json_response(dashboard)

    async def dashboard_list(self, request: Request) -> Response:
        project_id = await self._project(request)
        limit = _limit(request.query_params.get("limit"))
        with SECONDS.labels("dashboard_list").time():
            page = await self._dashboards.page(project_id, limit, request.query_params.get("cursor") or None)
        return json_response(page)

    async def dashboard_delete(self, request: Request) -> Response:
        project_id = await self._project(request)
        warnings = parse_delete(await _body(request))
        with SECONDS.labels("dashboard_delete").time():
            await self._dashboards.delete(project_id, request.path_params["dashboard_id"])
        return json_response(Deleted(warnings=warnings or UNSET))

    async def _project(self, request: Request) -> str:
        return (await self._keys.authorize(request.headers.get("authorization"), Scope.QUERY)).project_id


async def _body(request: Request) -> bytes:
    """At most 1 MiB of JSON as it is: questions are small, so encodings are not taken."""
    body = await receive_body(request, MAX_BODY_BYTES, "A question is small: ask for less, or in several questions.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and media_type not in ("", "application/json"):
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Content-Type `{media_type[:100]}` is not taken. Send application/json."
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ApiError(
            ErrorCode.UNSUPPORTED_ENCODING, f"Content-Encoding `{encoding[:100]}` is not taken here. Send plain JSON."
        )
    return body


def _idempotency_header(request: Request) -> str | None:
    value = request.headers.get("idempotency-key")
    if value is not None and not 1 <= len(value) <= MAX_IDEMPOTENCY_KEY_CHARS:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"The Idempotency-Key header must have 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters.",
            field="Idempotency-Key",
        )
    return value


def _limit(text: str | None) -> int:
    if not text:
        return MAX_PAGE_DASHBOARDS
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MAX_PAGE_DASHBOARDS:
        raise ApiError(
            ErrorCode.INVALID_FIELD, f"`limit` must be a whole number from 1 to {MAX_PAGE_DASHBOARDS}.", field="limit"
        )
    return limit
