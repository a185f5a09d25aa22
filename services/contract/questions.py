"""The query calls' bodies and answers. These types validate, and the OpenAPI document is generated from them.

Optional fields take null for absent. What a value means beyond its type (a window, a filter) is services/query's.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import (
    MAX_TITLE_CHARS,
    Breakdown,
    BreakdownKind,
    BreakdownTop,
    BreakdownValue,
    Cursor,
    EventName,
    FilteredQuery,
    Interval,
    Order,
    People,
    ScopedQuery,
    Since,
    Timezone,
    Title,
    Until,
    Warnings,
    WeekStart,
)
from services.contract.api.funnel import FunnelQuery
from services.contract.api.ingest import IdempotencyKey
from services.contract.api.trends import TrendsQuery
from services.contract.people import SavedCohort

MAX_PAGE_EVENTS = 1000
MAX_PATH_DEPTH = 20
MAX_PATH_TOP = 100
MAX_SESSION_GAP_S = 366 * 86_400
MAX_OCCURRENCES = 1000
MAX_DASHBOARD_QUERIES = 50
MAX_PAGE_DASHBOARDS = 100

RetentionMode = Literal["on", "on_or_after"]
PathDirection = Literal["after", "before"]


class EventsQuery(FilteredQuery, kw_only=True):
    """Single events in order of time, a page at a time."""

    since: Since
    until: Until
    timezone: Timezone | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_EVENTS, description="Events on a page; default 1000.")] | None = None
    cursor: Cursor | None = None
    order: Annotated[Order, Meta(description="By (timestamp, event_id); default asc.")] | None = None


class RetentionQuery(ScopedQuery, kw_only=True):
    """How many of those who began came back, by period."""

    born_event: EventName
    return_event: EventName
    since: Since
    until: Until
    timezone: Timezone | None = None
    interval: Annotated[Interval, Meta(description="Length of a period; default day.")] | None = None
    week_start: WeekStart | None = None
    mode: (
        Annotated[
            RetentionMode,
            Meta(description="Who came back `on` that period, or `on_or_after` it within the window; default on."),
        ]
        | None
    ) = None
    first_time: (
        Annotated[bool, Meta(description="Only those who never did the born event before the window; default false.")]
        | None
    ) = None
    min_occurrences: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_OCCURRENCES, description="Return events that a period needs to count; default 1."),
        ]
        | None
    ) = None
    breakdown: (
        Annotated[
            Breakdown,
            Meta(description="Property of the first born event in the window, or `group.<type>` of the person."),
        ]
        | None
    ) = None
    top: BreakdownTop | None = None


class PathQuery(ScopedQuery, kw_only=True):
    """What people did after their first start event, or what they had done before it."""

    start_event: EventName
    since: Since
    until: Until
    timezone: Timezone | None = None
    direction: (
        Annotated[
            PathDirection,
            Meta(
                description="The events `after` the person's first start event, or those `before` it, nearest first; "
                "default after."
            ),
        ]
        | None
    ) = None
    max_depth: (
        Annotated[int, Meta(ge=1, le=MAX_PATH_DEPTH, description="Events besides the start event; default 5.")] | None
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


class SavedFunnel(FunnelQuery, kw_only=True, tag_field="type", tag="funnel"):
    """A funnel question of a dashboard."""

    title: Title | None = None


class SavedTrends(TrendsQuery, kw_only=True, tag_field="type", tag="trends"):
    """A trends question of a dashboard."""

    title: Title | None = None


SavedQuery = SavedEvents | SavedRetention | SavedPath | SavedFunnel | SavedTrends | SavedCohort
DashboardName = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS, examples=["Weekly review"])]


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


class RetentionBreakdown(Struct, kw_only=True):
    """The matrix of those whose born event had this value."""

    kind: BreakdownKind
    matrix: list[list[People]]
    value: BreakdownValue | UnsetType = UNSET


class RetentionAnswer(Struct, kw_only=True):
    """`matrix[i][0]`: people of cohort i; `matrix[i][j]`: how many of them came back in period i + j.

    `periods` are the starts of the periods; the first may lie before `since`. `breakdown`: most people first.
    """

    matrix: list[list[People]]
    interval: Interval
    periods: list[datetime]
    breakdown: list[RetentionBreakdown] | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


class PathNode(Struct, kw_only=True, gc=False):
    """`count` people came here; `drop_off` of them went no further, `other` to events beyond the `top` children."""

    event: str
    count: People
    drop_off: People
    other: People
    children: list["PathNode"]


class PathAnswer(Struct, kw_only=True):
    """The tree of what follows the start event `root`, or of what led to it. At each node: count = counts of children + other + drop_off."""

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
