"""The calls of the query service as data: bodies, answers, the errors that each can have."""

from typing import Any

from services.contract.api.dashboards import (
    Dashboard,
    DashboardCreate,
    DashboardList,
    DashboardRun,
    DashboardRunResult,
    Deleted,
)
from services.contract.api.endpoints import ALWAYS, Call
from services.contract.api.errors import ErrorCode
from services.contract.api.persons import Person
from services.contract.api.privacy import Deletion, PrivacyDelete
from services.contract.api.queries import QUERY_KINDS

_BODY = (
    ErrorCode.INVALID_JSON,
    ErrorCode.MISSING_FIELD,
    ErrorCode.TOO_DEEP,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.UNSUPPORTED_ENCODING,
)
_WINDOW = (ErrorCode.INVALID_TIMESTAMP, ErrorCode.INVALID_WINDOW, ErrorCode.INVALID_TIMEZONE)
_QUERY = (
    *ALWAYS,
    *_BODY,
    *_WINDOW,
    ErrorCode.INVALID_FILTER,
    ErrorCode.QUERY_TOO_EXPENSIVE,
    ErrorCode.RATE_LIMITED,
)
_PAGED = (*_QUERY, ErrorCode.INVALID_CURSOR)


def _parameter(name: str, place: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    """What is in the path is always required."""
    needed = required or place == "path"
    return {"name": name, "in": place, "required": needed, "description": description, "schema": schema}


_DASHBOARD_ID = _parameter("dashboard_id", "path", "Id of the dashboard.", type="string")
_KEY_HEADER = _parameter(
    "Idempotency-Key",
    "header",
    "Stands for a missing `idempotency_key`.",
    type="string",
    minLength=1,
    maxLength=256,
    pattern="^[ -~]+$",
)

_QUERIES = tuple(
    Call(
        name=f"query_{kind.name}",
        method="POST",
        path=f"/query/{kind.name}",
        summary=kind.summary,
        request=kind.body,
        response=kind.result,
        scope="query",
        errors=_PAGED if kind.has_pages else _QUERY,
    )
    for kind in QUERY_KINDS
)
QUERY_CALLS = (
    *_QUERIES,
    Call(
        name="person",
        method="GET",
        path="/persons/{distinct_id}",
        summary="One person by any of the ids: all ids, traits, groups, first and last seen.",
        response=Person,
        scope="query",
        errors=(*ALWAYS, ErrorCode.NOT_FOUND, ErrorCode.QUERY_TOO_EXPENSIVE, ErrorCode.RATE_LIMITED),
        parameters=(
            _parameter("distinct_id", "path", "Any id of the person.", type="string", minLength=1, maxLength=512),
        ),
    ),
    Call(
        name="privacy_delete",
        method="POST",
        path="/privacy/delete",
        summary="Delete a person's data, or the events of a window. Takes a key that has the scope `ingest` too.",
        request=PrivacyDelete,
        response=Deletion,
        scope="query",
        errors=(
            *ALWAYS,
            *_BODY,
            ErrorCode.INVALID_TIMESTAMP,
            ErrorCode.INVALID_WINDOW,
            ErrorCode.INVALID_TIMEZONE,
            ErrorCode.LOG_UNAVAILABLE,
        ),
        parameters=(_KEY_HEADER,),
    ),
    Call(
        name="privacy_state",
        method="GET",
        path="/privacy/delete/{deletion_id}",
        summary="How far a deletion is. Takes a key that has the scope `ingest` too.",
        response=Deletion,
        scope="query",
        errors=(*ALWAYS, ErrorCode.NOT_FOUND),
        parameters=(_parameter("deletion_id", "path", "Id of the deletion.", type="string"),),
    ),
    Call(
        name="dashboard_create",
        method="POST",
        path="/dashboard/create",
        summary="Save queries as a dashboard.",
        request=DashboardCreate,
        response=Dashboard,
        scope="query",
        errors=_PAGED,
        parameters=(_KEY_HEADER,),
    ),
    Call(
        name="dashboard_get",
        method="GET",
        path="/dashboard/get/{dashboard_id}",
        summary="One dashboard.",
        response=Dashboard,
        scope="query",
        errors=(*ALWAYS, ErrorCode.NOT_FOUND),
        parameters=(_DASHBOARD_ID,),
    ),
    Call(
        name="dashboard_list",
        method="GET",
        path="/dashboard/list",
        summary="All dashboards of the project, a page at a time.",
        response=DashboardList,
        scope="query",
        errors=(*ALWAYS, ErrorCode.INVALID_CURSOR),
        parameters=(
            _parameter("cursor", "query", "`next_cursor` of the previous page.", type="string", maxLength=256),
            _parameter("limit", "query", "Dashboards on a page; default 100.", type="integer", minimum=1, maximum=100),
        ),
    ),
    Call(
        name="dashboard_run",
        method="POST",
        path="/dashboard/run/{dashboard_id}",
        summary="The answers to all queries of a dashboard; an error is the answer of its query only.",
        request=DashboardRun,
        response=DashboardRunResult,
        scope="query",
        errors=(*ALWAYS, *_BODY, *_WINDOW, ErrorCode.NOT_FOUND),
        parameters=(_DASHBOARD_ID,),
    ),
    Call(
        name="dashboard_delete",
        method="DELETE",
        path="/dashboard/delete/{dashboard_id}",
        summary="Delete a dashboard; also answers ok when it is already gone.",
        response=Deleted,
        scope="query",
        errors=(*ALWAYS, *_BODY),
        parameters=(_DASHBOARD_ID,),
    ),
)
