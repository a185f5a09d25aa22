"""Running a dashboard: all its queries, one after the other, each in the project's turn; errors stay where they are.

One at a time, so that a dashboard takes one place in its project's queue however many queries it has.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from services.contract.api.dashboards import Dashboard, DashboardQueryResult, DashboardRun, DashboardRunResult
from services.contract.api.errors import ApiError
from services.query.insights.registry import parse_saved_query, takes_window
from services.query.insights.runner import InsightRunner
from services.query.request.time_window import parse_time_window
from services.runtime.clickhouse import StoreError
from services.runtime.http import error_of_store

# What stands in for the end of a window that is not overridden.
_FIRST, _LAST = "0001-01-01", "9999-12-31"


class _Head(Struct):
    """What every saved query has."""

    type: str
    title: str | None = None


def check_override(override: DashboardRun) -> None:
    """Raises ApiError for what would be wrong in every query."""
    since = _FIRST if override.since is None else override.since
    until = _LAST if override.until is None else override.until
    parse_time_window(since, until, override.timezone)


async def run_dashboard(
    insights: InsightRunner, project_id: str, dashboard: Dashboard, override: DashboardRun
) -> DashboardRunResult:
    return DashboardRunResult(
        dashboard_id=dashboard.dashboard_id,
        name=dashboard.name,
        answers=[await _run(insights, project_id, bytes(query), override) for query in dashboard.queries],
    )


async def _run(insights: InsightRunner, project_id: str, query: bytes, override: DashboardRun) -> DashboardQueryResult:
    head = msgspec.json.decode(query, type=_Head)
    run = DashboardQueryResult(type=head.type, title=UNSET if head.title is None else head.title)
    try:
        spec, warnings = parse_saved_query(_overridden(query, head.type, override), project_id)
        answer = await insights.run(project_id, head.type, spec, warnings)
        run.answer = Raw(msgspec.json.encode(answer))
    except ApiError as error:
        run.error = error.detail()
    except StoreError as error:
        run.error = error_of_store(error, "dashboard/run").detail()
    return run


def _overridden(query: bytes, kind: str, override: DashboardRun) -> bytes:
    if not takes_window(kind):
        return query
    fields: dict[str, Any] = msgspec.json.decode(query, type=dict[str, Raw])
    for name in override.__struct_fields__:
        value = getattr(override, name)
        if value is not None:
            fields[name] = value
    return msgspec.json.encode(fields)
