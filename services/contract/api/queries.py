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
    """`name` is the last part of the address and the `type` of a saved query. `has_pages`: it takes a cursor."""

    name: str
    summary: str
    body: type[Struct]
    saved: type[Struct]
    result: type[Struct]
    has_pages: bool = False


QUERY_KINDS = (
    QueryKind(
        name="events",
        summary="Single events in a time window, filtered, a page at a time.",
        body=EventsQuery,
        saved=SavedEvents,
        result=EventsResult,
        has_pages=True,
    ),
    QueryKind(
        name="retention",
        summary="Retention matrix from a born event to a return event.",
        body=RetentionQuery,
        saved=SavedRetention,
        result=RetentionResult,
    ),
    QueryKind(
        name="path",
        summary="Tree of what people did after a start event.",
        body=PathQuery,
        saved=SavedPath,
        result=PathResult,
    ),
    QueryKind(
        name="funnel",
        summary="How many people took each of several steps, and how long it took them.",
        body=FunnelQuery,
        saved=SavedFunnel,
        result=FunnelResult,
    ),
    QueryKind(
        name="trends",
        summary="Counts and measures by time bucket, for several series, broken down by a property.",
        body=TrendsQuery,
        saved=SavedTrends,
        result=TrendsResult,
    ),
    QueryKind(
        name="cohort",
        summary="Size of a cohort of people, and a page of them.",
        body=CohortQuery,
        saved=SavedCohort,
        result=CohortResult,
        has_pages=True,
    ),
)
if TYPE_CHECKING:
    SavedQuery = Any
else:
    SavedQuery = Union[tuple(kind.saved for kind in QUERY_KINDS)]  # noqa: UP007 (made from the rows)
