"""The dashboards' calls: HTTP only."""

from msgspec import UNSET
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.api.dashboards import MAX_PAGE_DASHBOARDS, Dashboard, Deleted
from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.query.cohorts.repository import SavedCohorts
from services.query.dashboards.repository import Dashboards
from services.query.dashboards.request import parse_dashboard, parse_delete, parse_run, parse_update
from services.query.dashboards.run import check_override, run_dashboard
from services.query.execution.executor import SECONDS
from services.query.http.answers import Answers
from services.query.http.requests import idempotency_key, project_of, query_body, whole_number
from services.query.insights.runner import InsightRunner
from services.runtime.clock import Clock
from services.runtime.http import json_response
from services.runtime.keys import KeyCache
from services.runtime.waited_for import while_waited_for


class DashboardRoutes:
    """For projects whose key has the scope `query`."""

    def __init__(
        self,
        insights: InsightRunner,
        cohorts: SavedCohorts,
        dashboards: Dashboards,
        answers: Answers,
        keys: KeyCache,
        clock: Clock,
    ) -> None:
        self._cohorts = cohorts
        self._insights = insights
        self._answers = answers
        self._dashboards = dashboards
        self._keys = keys
        self._clock = clock

    def routes(self) -> list[Route]:
        calls = [
            ("POST", "create", self.create),
            ("GET", "get/{dashboard_id}", self.get),
            ("GET", "list", self.list),
            ("PUT", "update/{dashboard_id}", self.update),
            ("POST", "run/{dashboard_id}", while_waited_for(self.run)),
            ("DELETE", "delete/{dashboard_id}", self.delete),
        ]
        return [Route(f"{BASE_PATH}/dashboard/{path}", call, methods=[method]) for method, path, call in calls]

    async def create(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        new, warnings = parse_dashboard(await query_body(request), project_id)
        new = replace(new, idempotency_key=idempotency_key(request, new.idempotency_key, warnings))
        with SECONDS.labels("dashboard_create").time():
            dashboard = await self._dashboards.create(project_id, new, self._clock())
        dashboard.warnings = warnings or UNSET
        return self._answers.json(project_id, dashboard)

    async def update(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        changed, version, warnings = parse_update(await query_body(request), project_id)
        dashboard_id = request.path_params["dashboard_id"]
        with SECONDS.labels("dashboard_update").time():
            dashboard = await self._dashboards.update(project_id, dashboard_id, changed, version, self._clock())
        if dashboard is None:
            raise _no_dashboard()
        dashboard.warnings = warnings or UNSET
        return self._answers.json(project_id, dashboard)

    async def get(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        with SECONDS.labels("dashboard_get").time():
            return self._answers.json(project_id, await self._dashboard(project_id, request))

    async def run(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        override, warnings = parse_run(await query_body(request))
        check_override(override, self._clock())
        with SECONDS.labels("dashboard_run").time():
            dashboard = await self._dashboard(project_id, request)
            with self._answers.gathering(project_id) as gather:
                run = await run_dashboard(
                    self._insights, self._cohorts, project_id, dashboard, override, gather, self._clock()
                )
        run.warnings = warnings or UNSET
        return self._answers.json(project_id, run)

    async def list(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        limit = whole_number(request, "limit", MAX_PAGE_DASHBOARDS, MAX_PAGE_DASHBOARDS)
        with SECONDS.labels("dashboard_list").time():
            page = await self._dashboards.page(project_id, limit, request.query_params.get("cursor") or None)
        return self._answers.json(project_id, page)

    async def delete(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        warnings = parse_delete(await query_body(request))
        with SECONDS.labels("dashboard_delete").time():
            await self._dashboards.delete(project_id, request.path_params["dashboard_id"])
        return json_response(Deleted(warnings=warnings or UNSET))

    async def _dashboard(self, project_id: str, request: Request) -> Dashboard:
        dashboard = await self._dashboards.get(project_id, request.path_params["dashboard_id"])
        if dashboard is None:
            raise _no_dashboard()
        return dashboard


def _no_dashboard() -> ApiError:
    return ApiError(ErrorCode.NOT_FOUND, "This project has no such dashboard. See GET /dashboard/list.")
