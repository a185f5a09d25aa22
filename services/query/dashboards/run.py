"""Running a dashboard: all its queries, one after the other, each in the project's turn; errors stay where they are.

One at a time, so that a dashboard takes one place in its project's queue however many queries it has.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from services.contract.api.dashboards import (
    MAX_RUN_BYTES,
    Dashboard,
    DashboardQueryResult,
    DashboardRun,
    DashboardRunResult,
)
from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import WindowedQuery
from services.query.cohorts.repository import SavedCohorts
from services.query.insights.registry import asked, decode_saved_query, takes_window
from services.query.insights.runner import InsightRunner
from services.query.request.relative_windows import absolute
from services.query.request.time_window import parse_time_window
from services.runtime.clickhouse import StoreError
from services.runtime.http import error_of_store

# What stands in for the end of a window that is not overridden.
_FIRST, _LAST = "0001-01-01", "9999-12-31"


class _Head(Struct):
    """What every saved query has."""

    type: str
    title: str | None = None


# One of these replaces the others.
_FORMS = ("since", "until", "last", "this", "previous")


def check_override(override: DashboardRun, now: datetime) -> None:
    """Raises ApiError for what would be wrong in every query."""
    if any(getattr(override, name) is not None for name in _FORMS[2:]):
        fields = {name: getattr(override, name) for name in (*_FORMS, "timezone")}
        absolute(WindowedQuery(**fields), now)
        return
    since = _FIRST if override.since is None else override.since
    until = _LAST if override.until is None else override.until
    parse_time_window(since, until, override.timezone)


async def run_dashboard(
    insights: InsightRunner,
    cohorts: SavedCohorts,
    project_id: str,
    dashboard: Dashboard,
    override: DashboardRun,
    gather: Callable[[int], None],
    now: datetime,
) -> DashboardRunResult:
    """`gather` is told the bytes of each answer, and raises ApiError when these are too many."""
    answers: list[DashboardQueryResult] = []
    size = 0
    for query in dashboard.queries:
        head = msgspec.json.decode(bytes(query), type=_Head)
        run = DashboardQueryResult(type=head.type, title=UNSET if head.title is None else head.title)
        try:
            if size > MAX_RUN_BYTES:
                raise _too_many_bytes()
            answer = await _answer(insights, cohorts, project_id, head.type, bytes(query), override, now)
            size += len(answer)
            if size > MAX_RUN_BYTES:
                raise _too_many_bytes()
            gather(len(answer))
            run.answer = Raw(answer)
        except ApiError as error:
            run.error = error.detail()
        except StoreError as error:
            run.error = error_of_store(error, f"{BASE_PATH}/dashboard/run").detail()
        answers.append(run)
    return DashboardRunResult(dashboard_id=dashboard.dashboard_id, name=dashboard.name, answers=answers)


async def _answer(
    insights: InsightRunner,
    cohorts: SavedCohorts,
    project_id: str,
    kind: str,
    query: bytes,
    override: DashboardRun,
    now: datetime,
) -> bytes:
    _, decoded, warnings = decode_saved_query(_overridden(query, kind, override))
    found = asked(kind, await cohorts.put_in(project_id, decoded), project_id, now)
    answer = await insights.answer(project_id, found, warnings, now)
    return answer.body or b""  # nobody has it already


def _too_many_bytes() -> ApiError:
    return ApiError(
        ErrorCode.QUERY_TOO_EXPENSIVE,
        f"The dashboard's answers before this one have {MAX_RUN_BYTES} bytes in all, or would with it. Ask for less in "
        "its queries, or send this query alone.",
    )


def _overridden(query: bytes, kind: str, override: DashboardRun) -> bytes:
    if not takes_window(kind):
        return query
    fields: dict[str, Any] = msgspec.json.decode(query, type=dict[str, Raw])
    for name in override.__struct_fields__:
        value = getattr(override, name)
        if value is not None:
            fields[name] = value
    _leave_one_form(fields, override)
    return msgspec.json.encode(fields)


def _leave_one_form(fields: dict[str, Any], override: DashboardRun) -> None:
    """The window of the run is in one form; what the query says in another one would contradict it."""
    given = {name for name in _FORMS if getattr(override, name) is not None}
    if given - {"since", "until"}:
        given_alone = given
    elif given:
        given_alone = {"since", "until"}
    else:
        return
    for name in set(_FORMS) - given_alone:
        fields.pop(name, None)
