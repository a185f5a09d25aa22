"""The kinds of queries: one row each. The endpoints, the saved queries of dashboards and the registry come from it."""

from typing import TYPE_CHECKING, Any, Union

from msgspec import Struct

from services.contract.api.cohort import CohortQuery, CohortResult, SavedCohort
from services.contract.api.events import EventsQuery, EventsResult, SavedEvents
from services.contract.api.funnel import FunnelQuery, FunnelResult, SavedFunnel
from services.contract.api.path import PathQuery, PathResult, SavedPath
from services.contract.api.retention import RetentionQuery, RetentionResult, SavedRetention
from services.contract.api.trends import SavedTrends, TrendsQuery, TrendsResult


class QueryKind(Struct, frozen=True, kw_only=True):
    """`name` is the last part of the address and the `type` of a saved query. `has_pages`: it takes a cursor.

    `example`: a body, for the reference.
    """

    name: str
    summary: str
    body: type[Struct]
    saved: type[Struct]
    result: type[Struct]
    has_pages: bool = False
    example: dict[str, Any]


QUERY_KINDS = (
    QueryKind(
        name="events",
        summary="Single events in a time window, filtered, a page at a time.",
        body=EventsQuery,
        saved=SavedEvents,
        result=EventsResult,
        example={"last": "7d", "timezone": "Europe/Berlin", "filter": {"event": "checkout_completed"}, "limit": 50},
        has_pages=True,
    ),
    QueryKind(
        name="retention",
        summary="Retention matrix from a born event to a return event.",
        body=RetentionQuery,
        saved=SavedRetention,
        result=RetentionResult,
        example={"born_event": "signup", "return_event": None, "last": "8w", "interval": "week", "whole_periods": True},
    ),
    QueryKind(
        name="path",
        summary="Tree of what people did after a start event.",
        body=PathQuery,
        saved=SavedPath,
        result=PathResult,
        example={"start_event": ["signup", "login"], "this": "month", "max_depth": 4},
    ),
    QueryKind(
        name="funnel",
        summary="How many people took each of several steps, and how long it took them.",
        body=FunnelQuery,
        saved=SavedFunnel,
        result=FunnelResult,
        example={
            "steps": [{"event": "signup"}, {"event": None, "filter": {"plan": "pro"}}],
            "previous": "quarter",
            "cohort": {"saved": "power users"},
        },
    ),
    QueryKind(
        name="trends",
        summary="Counts and measures by time bucket, for several series, broken down by a property.",
        body=TrendsQuery,
        saved=SavedTrends,
        result=TrendsResult,
        example={
            "series": [{"event": ["order", "refund"], "measure": "people"}],
            "last": "30d",
            "whole_periods": True,
            "compare": "previous",
            "breakdown": "plan",
        },
    ),
    QueryKind(
        name="cohort",
        summary="Size of a cohort of people, and a page of them.",
        body=CohortQuery,
        saved=SavedCohort,
        result=CohortResult,
        example={"cohort": {"did": "login", "last": "30d", "at_least": 5}},
        has_pages=True,
    ),
)
if TYPE_CHECKING:
    SavedQuery = Any
else:
    SavedQuery = Union[tuple(kind.saved for kind in QUERY_KINDS)]  # noqa: UP007 (made from the rows)
