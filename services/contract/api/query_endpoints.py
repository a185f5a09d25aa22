"""The calls of the query service as data: bodies, answers, the errors that each can have."""

from typing import Any

from services.contract.api.catalog import CatalogQuery, CatalogResult
from services.contract.api.cohorts import CohortInfo, CohortList, CohortSave
from services.contract.api.dashboards import (
    Dashboard,
    DashboardCreate,
    DashboardList,
    DashboardRun,
    DashboardRunResult,
    DashboardUpdate,
    Deleted,
)
from services.contract.api.endpoints import ALWAYS, Call
from services.contract.api.errors import ErrorCode
from services.contract.api.events import StoredEvent
from services.contract.api.groups import GroupProfile
from services.contract.api.people import PeopleQuery, PeopleResult
from services.contract.api.persons import Person, PersonSearch
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
_IF_NONE_MATCH = _parameter(
    "If-None-Match", "header", "`ETag` of an answer that is there already: 304 where it still holds.", type="string"
)
_COHORT_NAME = _parameter("name", "path", "Name of the cohort.", type="string", minLength=1, maxLength=200)
_READ = (*ALWAYS, ErrorCode.QUERY_TOO_EXPENSIVE, ErrorCode.RATE_LIMITED)
_SAVE = (*ALWAYS, *_BODY, ErrorCode.RATE_LIMITED)

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
        parameters=(_IF_NONE_MATCH,),
        example=kind.example,
        csv=True,
    )
    for kind in QUERY_KINDS
)
QUERY_CALLS = (
    *_QUERIES,
    Call(
        name="query_people",
        method="POST",
        path="/query/people",
        summary="The people behind a number of a query's answer, a page at a time.",
        request=PeopleQuery,
        response=PeopleResult,
        scope="query",
        errors=_PAGED,
        parameters=(_IF_NONE_MATCH,),
        example={
            "query": {"type": "funnel", "last": "30d", "steps": [{"event": "signup"}, {"event": "order"}]},
            "cell": {"step": 1, "part": "drop_off"},
            "limit": 50,
        },
        csv=True,
    ),
    Call(
        name="query_catalog",
        method="POST",
        path="/query/catalog",
        summary="What is there: events, their properties, traits of people, groups.",
        request=CatalogQuery,
        response=CatalogResult,
        scope="query",
        errors=(*_READ, *_BODY),
        example={"event": "checkout_completed", "search": "am"},
        csv=True,
    ),
    Call(
        name="events_live",
        method="GET",
        path="/events/live",
        summary="Events as they are stored, as server-sent events: `event` each, and `gap` where some were left out.",
        response=StoredEvent,
        scope="query",
        errors=(*ALWAYS, ErrorCode.INVALID_FILTER, ErrorCode.RATE_LIMITED),
        parameters=(
            _parameter("filter", "query", "A filter as queries have it, JSON.", type="string", maxLength=65536),
        ),
        media="text/event-stream",
    ),
    Call(
        name="event",
        method="GET",
        path="/events/{event_id}",
        summary="One event by its id.",
        response=StoredEvent,
        scope="query",
        errors=(*_READ, ErrorCode.NOT_FOUND, ErrorCode.INVALID_TIMESTAMP),
        parameters=(
            _parameter("event_id", "path", "Id of the event.", type="string"),
            _parameter(
                "timestamp", "query", "Its `timestamp`, where it is known: it is found at once then.", type="string"
            ),
        ),
    ),
    Call(
        name="person_search",
        method="GET",
        path="/persons",
        summary="People by a part of an id, or of a trait.",
        response=PersonSearch,
        scope="query",
        errors=_READ,
        parameters=(
            _parameter(
                "search", "query", "Text, in any case.", required=True, type="string", minLength=1, maxLength=200
            ),
            _parameter("limit", "query", "How many; default 20.", type="integer", minimum=1, maximum=100),
        ),
    ),
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
        name="group_profile",
        method="GET",
        path="/groups/{group_type}/{group_key}",
        summary="One group: traits, members, first and last seen.",
        response=GroupProfile,
        scope="query",
        errors=(*_READ, ErrorCode.NOT_FOUND),
        parameters=(
            _parameter(
                "group_type",
                "path",
                "Type of the group; a slash in it is `%2F`.",
                type="string",
                minLength=1,
                maxLength=200,
            ),
            _parameter("group_key", "path", "Key of the group.", type="string", minLength=1, maxLength=512),
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
        name="dashboard_update",
        method="PUT",
        path="/dashboard/update/{dashboard_id}",
        summary="Change a dashboard that nobody else has changed since it was read.",
        request=DashboardUpdate,
        response=Dashboard,
        scope="query",
        errors=(*_PAGED, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
        parameters=(_DASHBOARD_ID,),
        example={
            "name": "Weekly review",
            "queries": [{"type": "trends", "last": "30d", "series": [{"event": "order"}]}],
            "version": 1,
        },
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
    Call(
        name="cohort_save",
        method="PUT",
        path="/cohorts/{name}",
        summary="Save a cohort under a name, in the place of the one that has it.",
        request=CohortSave,
        response=CohortInfo,
        scope="query",
        errors=(*_SAVE, *_WINDOW, ErrorCode.INVALID_FILTER),
        parameters=(_COHORT_NAME,),
        example={"cohort": {"did": "login", "last": "30d", "at_least": 5}},
    ),
    Call(
        name="cohort_get",
        method="GET",
        path="/cohorts/{name}",
        summary="One saved cohort.",
        response=CohortInfo,
        scope="query",
        errors=(*_READ, ErrorCode.NOT_FOUND),
        parameters=(_COHORT_NAME,),
    ),
    Call(
        name="cohort_list",
        method="GET",
        path="/cohorts",
        summary="All saved cohorts of the project.",
        response=CohortList,
        scope="query",
        errors=_READ,
    ),
    Call(
        name="cohort_delete",
        method="DELETE",
        path="/cohorts/{name}",
        summary="Delete a saved cohort; also answers ok when it is already gone.",
        response=Deleted,
        scope="query",
        errors=(*ALWAYS, ErrorCode.RATE_LIMITED),
        parameters=(_COHORT_NAME,),
    ),
)
