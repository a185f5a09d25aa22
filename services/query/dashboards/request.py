"""The bodies of the dashboards' calls -> typed values, or an ApiError that names the field."""

from typing import Annotated

from msgspec import Meta, Raw, Struct

from services.contract.api.dashboards import MAX_DASHBOARD_QUERIES, DashboardDelete, DashboardName, DashboardRun
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import IdempotencyKey
from services.contract.api.validation import refuse_nul
from services.query.insights.registry import parse_saved_query
from services.query.request.decode import MAX_WARNINGS, decode


class NewDashboard(Struct, frozen=True):
    """`queries` are valid, and as they were sent."""

    name: str
    queries: list[Raw]
    idempotency_key: str | None


class _DashboardCreate(Struct):
    name: DashboardName
    queries: list[Raw]
    idempotency_key: IdempotencyKey | None = None


class _DashboardUpdate(Struct):
    name: DashboardName
    queries: list[Raw]
    version: Annotated[int, Meta(ge=0)]


def parse_dashboard(body: bytes, project_id: str) -> tuple[NewDashboard, list[str]]:
    created, warnings = decode(body, _DashboardCreate)
    warnings = _checked(created.name, created.queries, project_id, warnings)
    return NewDashboard(created.name, created.queries, created.idempotency_key), warnings


def parse_update(body: bytes, project_id: str) -> tuple[NewDashboard, int, list[str]]:
    """What the dashboard is to be, and the version that was read."""
    changed, warnings = decode(body, _DashboardUpdate)
    warnings = _checked(changed.name, changed.queries, project_id, warnings)
    return NewDashboard(changed.name, changed.queries, None), changed.version, warnings


def _checked(name: str, queries: list[Raw], project_id: str, warnings: list[str]) -> list[str]:
    """The warnings, with those of the queries. Raises ApiError."""
    refuse_nul(name, "name")
    if len(queries) > MAX_DASHBOARD_QUERIES:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`queries`: {len(queries)} of them; a dashboard holds at most {MAX_DASHBOARD_QUERIES}.",
            field="queries",
        )
    for i, query in enumerate(queries):
        place = f"queries[{i}]"
        try:
            _, unknown = parse_saved_query(bytes(query), project_id)
        except ApiError as error:
            raise error.within(place) from error
        warnings += [f"{place}: {warning}" for warning in unknown]
    return warnings[:MAX_WARNINGS]


def parse_delete(body: bytes) -> list[str]:
    """The warnings; nothing else of the body matters."""
    return decode(body, DashboardDelete)[1] if body.strip() else []


def parse_run(body: bytes) -> tuple[DashboardRun, list[str]]:
    """No body is no override."""
    return decode(body, DashboardRun) if body.strip() else (DashboardRun(), [])
