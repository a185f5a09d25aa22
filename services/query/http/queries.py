"""The query calls: HTTP only. What a body means is parse's; what the answer is, each question's."""

from collections.abc import Awaitable, Callable

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_IDEMPOTENCY_KEY_CHARS
from services.contract.questions import MAX_PAGE_DASHBOARDS, Dashboard, Deleted
from services.query.dashboards.repository import Dashboards
from services.query.dashboards.run import check_override, run_dashboard
from services.query.execution.executor import SECONDS
from services.query.insights.runner import ANSWERS, Answers
from services.query.request.decode import NewDashboard, parse_dashboard, parse_delete, parse_question, parse_run
from services.runtime.clock import Clock
from services.runtime.http import json_response, receive_body
from services.runtime.keys import KeyCache, Scope

MAX_BODY_BYTES = 1024 * 1024

Handler = Callable[[Request], Awaitable[Response]]


class QueryRoutes:
    """The questions and the dashboards' calls, for projects whose key has the scope `query`."""

    def __init__(self, answers: Answers, dashboards: Dashboards, keys: KeyCache, clock: Clock) -> None:
        self._answers = answers
        self._dashboards = dashboards
        self._keys = keys
        self._clock = clock

    def routes(self) -> list[Route]:
        calls: list[tuple[str, str, Handler]] = [
            *[("POST", f"query/{kind}", self.question(kind)) for kind in ANSWERS],
            ("POST", "dashboard/create", self.dashboard_create),
            ("GET", "dashboard/get/{dashboard_id}", self.dashboard_get),
            ("GET", "dashboard/list", self.dashboard_list),
            ("POST", "dashboard/run/{dashboard_id}", self.dashboard_run),
            ("DELETE", "dashboard/delete/{dashboard_id}", self.dashboard_delete),
        ]
        return [Route(f"{BASE_PATH}/{path}", call, methods=[method]) for method, path, call in calls]

    def question(self, kind: str) -> Handler:
        """The handler of one kind of question."""

        async def ask(request: Request) -> Response:
            project_id = await self._project(request)
            question, warnings = parse_question(kind, await question_body(request), project_id)
            return json_response(await self._answers.answer(project_id, kind, question, warnings))

        return ask

    async def dashboard_create(self, request: Request) -> Response:
        project_id = await self._project(request)
        new, warnings = parse_dashboard(await question_body(request), project_id)
        if new.idempotency_key is None:
            new = NewDashboard(new.name, new.queries, idempotency_header(request))
        with SECONDS.labels("dashboard_create").time():
            dashboard = await self._dashboards.create(project_id, new, self._clock())
        dashboard.warnings = warnings or UNSET
        return json_response(dashboard)

    async def dashboard_get(self, request: Request) -> Response:
        project_id = await self._project(request)
        with SECONDS.labels("dashboard_get").time():
            return json_response(await self._dashboard(project_id, request))

    async def dashboard_run(self, request: Request) -> Response:
        project_id = await self._project(request)
        override, warnings = parse_run(await question_body(request))
        check_override(override)
        with SECONDS.labels("dashboard_run").time():
            dashboard = await self._dashboard(project_id, request)
            run = await run_dashboard(self._answers, project_id, dashboard, override)
        run.warnings = warnings or UNSET
        return json_response(run)

    async def dashboard_list(self, request: Request) -> Response:
        project_id = await self._project(request)
        limit = _limit(request.query_params.get("limit"))
        with SECONDS.labels("dashboard_list").time():
            page = await self._dashboards.page(project_id, limit, request.query_params.get("cursor") or None)
        return json_response(page)

    async def dashboard_delete(self, request: Request) -> Response:
        project_id = await self._project(request)
        warnings = parse_delete(await question_body(request))
        with SECONDS.labels("dashboard_delete").time():
            await self._dashboards.delete(project_id, request.path_params["dashboard_id"])
        return json_response(Deleted(warnings=warnings or UNSET))

    async def _dashboard(self, project_id: str, request: Request) -> Dashboard:
        dashboard = await self._dashboards.get(project_id, request.path_params["dashboard_id"])
        if dashboard is None:
            raise ApiError(ErrorCode.NOT_FOUND, "This project has no such dashboard. See GET /dashboard/list.")
        return dashboard

    async def _project(self, request: Request) -> str:
        return (await self._keys.authorize(request.headers.get("authorization"), Scope.QUERY)).project_id


async def question_body(request: Request) -> bytes:
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


def idempotency_header(request: Request) -> str | None:
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
