"""The retention query: its body and its result."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from services.contract.api.fields import (
    Breakdown,
    BreakdownKind,
    BreakdownTop,
    BreakdownValue,
    Complete,
    EventNames,
    Filter,
    Interval,
    Partial,
    People,
    SegmentedQuery,
    TileWidth,
    Title,
    Warnings,
    WeekStart,
    WindowedResult,
)

MAX_OCCURRENCES = 1000
BornFilter = Annotated[Filter, Meta(description="What must hold of born events, besides `filter`; as `filter`.")]
ReturnFilter = Annotated[Filter, Meta(description="What must hold of return events, besides `filter`; as `filter`.")]
RetentionMode = Literal["on", "on_or_after"]


class RetentionQuery(SegmentedQuery, kw_only=True):
    """How many of those who began came back, by time bucket."""

    born_event: EventNames
    return_event: EventNames
    interval: Annotated[Interval, Meta(description="Length of a time bucket; default day.")] | None = None
    week_start: WeekStart | None = None
    mode: (
        Annotated[
            RetentionMode,
            Meta(
                description="Who came back `on` that time bucket, or `on_or_after` it in the time window; default on."
            ),
        ]
        | None
    ) = None
    born_filter: BornFilter = field(default_factory=Raw)
    return_filter: ReturnFilter = field(default_factory=Raw)
    first_time: (
        Annotated[bool, Meta(description="Only those who never did the born event before the window; default false.")]
        | None
    ) = None
    min_occurrences: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_OCCURRENCES, description="Return events that a time bucket needs to count; default 1."),
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


class SavedRetention(RetentionQuery, kw_only=True, tag_field="type", tag="retention"):
    """A retention query of a dashboard."""

    title: Title | None = None
    width: TileWidth | None = None


class RetentionBreakdown(Struct, kw_only=True):
    """The matrix of those whose born event had this value."""

    kind: BreakdownKind
    matrix: list[list[People]]
    value: BreakdownValue | UnsetType = UNSET


class RetentionResult(WindowedResult, kw_only=True):
    """`matrix[i][0]`: people of cohort i; `matrix[i][j]`: how many of them came back in time bucket i + j.

    `periods` are the starts of the time buckets; the first may lie before `since`. `breakdown`: most people first.
    """

    matrix: list[list[People]]
    interval: Interval
    periods: list[datetime]
    complete: Complete
    breakdown: list[RetentionBreakdown] | UnsetType = UNSET
    previous: "RetentionResult | UnsetType" = UNSET
    partial: Partial | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET
