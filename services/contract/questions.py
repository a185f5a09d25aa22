"""The query calls' bodies and answers. These types validate, and the OpenAPI document is generated from them.

Optional fields take null for absent. What a value means beyond its type (a window, a filter) is services/query's.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from services.contract.calls import ALWAYS, Call
from services.contract.errors import ErrorCode
from services.contract.messages import MAX_EVENT_NAME_CHARS, IdempotencyKey

MAX_PAGE_EVENTS = 1000
MAX_PATH_DEPTH = 20
MAX_PATH_TOP = 100
MAX_SESSION_GAP_S = 366 * 86_400
MAX_DASHBOARD_NAME_CHARS = 200
MAX_DASHBOARD_QUERIES = 50
MAX_PAGE_DASHBOARDS = 100

EventName = Annotated[
    str, Meta(min_length=1, max_length=MAX_EVENT_NAME_CHARS, description="Event name.", examples=["checkout_completed"])
]
Since = Annotated[
    str | int | float,
    Meta(
        description="First moment of the window. ISO 8601 (a date alone is its first moment; without offset: in "
        "`timezone`) or Unix epoch in seconds or milliseconds.",
        examples=["2026-11-01", "2026-11-01T00:00:00Z", 1793491200],
    ),
]
Until = Annotated[
    str | int | float,
    Meta(
        description="End of the window, itself outside; same forms as `since`.",
        examples=["2026-12-01", "2026-12-01T00:00:00Z", 1796083200],
    ),
]
Timezone = Annotated[
    str, Meta(max_length=64, description="IANA name: where days, weeks and months begin.", examples=["Europe/Berlin"])
]
Interval = Literal["hour", "day", "week", "month"]
Order = Literal["asc", "desc"]
# Kept as the bytes that came; services/query/filters.py reads it.
Filter = Annotated[
    Raw,
    Meta(
        description="Conditions that must all hold. Keys: `event`, `distinct_id`, `person_id`, or a property name (dots "
        "go into nested objects). A value matches by type and equality, a list by any of its members, an object "
        "`{operator: operand}` by eq, ne, in, not_in, gt, gte, lt, lte, exists, contains.",
        examples=[{"event": "checkout_completed", "amount": {"gte": 10}, "plan": ["pro", "team"]}],
        extra_json_schema={"type": ["object", "null"]},
    ),
]
Cursor = Annotated[str, Meta(max_length=256, description="`next_cursor` of the previous page of the same question.")]
Title = Annotated[str, Meta(max_length=MAX_DASHBOARD_NAME_CHARS, description="What a reader sees above the answer.")]
Warnings = Annotated[list[str], Meta(description="What was ignored, and why.")]
People = Annotated[int, Meta(ge=0, description="Number of people: ids that were merged count once.")]


class EventsQuery(Struct, kw_only=True):
    """Single events in order of time, a page at a time."""

    since: Since
    until: Until
    timezone: Timezone | None = None
    filter: Filter = field(default_factory=Raw)
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_EVENTS, description="Events on a page; default 1000.")] | None = None
    cursor: Cursor | None = None
    order: Annotated[Order, Meta(description="By (timestamp, event_id); default asc.")] | None = None


class RetentionQuery(Struct, kw_only=True):
    """How many of those who began came back, by period."""

    born_event: EventName
    return_event: EventName
    since: Since
    until: Until
    timezone: Timezone | None = None
    interval: (
        Annotated[Interval, Meta(description="Length of a period; weeks begin on Monday; default day.")] | None
    ) = None


class PathQuery(Struct, kw_only=True):
    """What people did after their first start event."""

    start_event: EventName
    since: Since
    until: Until
    timezone: Timezone | None = None
    max_depth: (
        Annotated[int, Meta(ge=1, le=MAX_PATH_DEPTH, description="Events after the start event; default 5.")] | None
    ) = None
    top: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_PATH_TOP, description="Children of a node, the rest is its `other`; default 10."),
        ]
        | None
    ) = None
    collapse_repeats: (
        Annotated[bool, Meta(description="An event that follows one of the same name is skipped; default false.")]
        | None
    ) = None
    session_gap_seconds: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_SESSION_GAP_S, description="A path ends before the first longer pause; default none."),
        ]
        | None
    ) = None
    end_event: Annotated[EventName, Meta(description="A path ends with its first such event; default none.")] | None = (
        None
    )


class SavedEvents(EventsQuery, kw_only=True, tag_field="type", tag="events"):
    """An events question of a dashboard."""

    title: Title | None = None


class SavedRetention(RetentionQuery, kw_only=True, tag_field="type", tag="retention"):
    """A retention question of a dashboard."""

    title: Title | None = None


class SavedPath(PathQuery, kw_only=True, tag_field="type", tag="path"):
    """A path question of a dashboard."""

    title: Title | None = None


SavedQuery = SavedEvents | SavedRetention | SavedPath
DashboardName = Annotated[str, Meta(min_length=1, max_length=MAX_DASHBOARD_NAME_CHARS, examples=["Weekly review"])]


class DashboardCreate(Struct, kw_only=True):
    """A named list of saved queries; each is validated now."""

    name: DashboardName
    queries: Annotated[list[SavedQuery], Meta(max_length=MAX_DASHBOARD_QUERIES)]
    idempotency_key: IdempotencyKey | None = None


class DashboardDelete(Struct, kw_only=True):
    """Deleting is idempotent by itself; the key is taken and not needed."""

    idempotency_key: IdempotencyKey | None = None


class StoredEvent(Struct, kw_only=True):
    """One event as it is stored. `original_timestamp`: the time as sent, where it was too far ahead to be believed."""

    event_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    event: str
    distinct_id: str
    person_id: str
    timestamp: datetime
    received_at: datetime
    properties: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
    idempotency_key: str | None
    original_timestamp: str | UnsetType = UNSET


class EventsAnswer(Struct, kw_only=True):
    """`next_cursor` is there while there are more events."""

    events: list[StoredEvent]
    next_cursor: str | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


class RetentionAnswer(Struct, kw_only=True):
    """`matrix[i][0]`: people of cohort i; `matrix[i][j]`: how many of them came back in period i + j.

    `periods` are the starts of the periods; the first may lie before `since`.
    """

    matrix: list[list[People]]
    interval: Interval
    periods: list[datetime]
    warnings: Warnings | UnsetType = UNSET


class PathNode(Struct, kw_only=True):
    """`count` people came here; `drop_off` of them went no further, `other` to events beyond the `top` children."""

    event: str
    count: People
    drop_off: People
    other: People
    children: list["PathNode"]


class PathAnswer(Struct, kw_only=True):
    """The tree below the start event `root`. At each node: count = counts of children + other + drop_off."""

    root: str
    count: People
    drop_off: People
    other: People
    children: list[PathNode]
    warnings: Warnings | UnsetType = UNSET


class Dashboard(Struct, kw_only=True):
    """`queries` as they were sent."""

    dashboard_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    name: str
    queries: list[Annotated[Raw, Meta(extra_json_schema={"type": "object"})]]
    created_at: datetime
    updated_at: datetime
    warnings: Warnings | UnsetType = UNSET


class DashboardList(Struct, kw_only=True):
    """In order of creation. `next_cursor` is there while there are more."""

    items: list[Dashboard]
    next_cursor: str | UnsetType = UNSET


class Deleted(Struct, kw_only=True):
    """There is no such dashboard (any more)."""

    ok: bool = True
    warnings: Warnings | UnsetType = UNSET


_BODY = (
    ErrorCode.INVALID_JSON,
    ErrorCode.MISSING_FIELD,
    ErrorCode.TOO_DEEP,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.UNSUPPORTED_ENCODING,
)
_QUERY = (
    *ALWAYS,
    *_BODY,
    ErrorCode.INVALID_TIMESTAMP,
    ErrorCode.INVALID_WINDOW,
    ErrorCode.INVALID_TIMEZONE,
    ErrorCode.QUERY_TOO_EXPENSIVE,
    ErrorCode.RATE_LIMITED,
)
_EVENTS = (*_QUERY, ErrorCode.INVALID_FILTER, ErrorCode.INVALID_CURSOR)


def _parameter(name: str, place: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


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

QUERY_CALLS = (
    Call(
        name="query_events",
        method="POST",
        path="/query/events",
        summary="Single events in a window, filtered, a page at a time.",
        request=EventsQuery,
        response=EventsAnswer,
        scope="query",
        errors=_EVENTS,
    ),
    Call(
        name="query_retention",
        method="POST",
        path="/query/retention",
        summary="Retention matrix from a born event to a return event.",
        request=RetentionQuery,
        response=RetentionAnswer,
        scope="query",
        errors=_QUERY,
    ),
    Call(
        name="query_path",
        method="POST",
        path="/query/path",
        summary="Tree of what people did after a start event.",
        request=PathQuery,
        response=PathAnswer,
        scope="query",
        errors=_QUERY,
    ),
    Call(
        name="dashboard_create",
        method="POST",
        path="/dashboard/create",
        summary="Save queries as a dashboard.",
        request=DashboardCreate,
        response=Dashboard,
        scope="query",
        errors=_EVENTS,
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
