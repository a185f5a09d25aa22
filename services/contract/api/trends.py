"""The trends query: its body and its result."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from services.contract.api.fields import (
    Breakdown,
    BreakdownTop,
    BreakdownValue,
    Complete,
    EventNames,
    Filter,
    Interval,
    Partial,
    SegmentedQuery,
    TileWidth,
    Title,
    Warnings,
    WeekStart,
    WindowedResult,
)

MAX_SERIES = 10

Measure = Literal["count", "people", "per_person", "sum", "avg", "min", "max", "percentile"]


class TrendSeries(Struct, kw_only=True):
    """An event, what must hold of it, and what is measured."""

    event: EventNames
    filter: Filter = field(default_factory=Raw)
    measure: (
        Annotated[
            Measure,
            Meta(description="`per_person`: count by people; sum and those after it: of `property`. Default count."),
        ]
        | None
    ) = None
    property: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=200,
                description="Numeric property, `person.<trait>` or `group.<type>.<trait>`; what is no number is left out. "
                "Dots go into nested objects.",
                examples=["amount"],
            ),
        ]
        | None
    ) = None
    percentile: Annotated[float, Meta(ge=0, le=100, description="Which percentile; default 50.")] | None = None


class TrendsQuery(SegmentedQuery, kw_only=True):
    """One number per time bucket, series and value of the breakdown."""

    series: Annotated[list[TrendSeries], Meta(min_length=1, max_length=MAX_SERIES)]
    interval: Annotated[Interval, Meta(description="Length of a time bucket; default day.")] | None = None
    week_start: WeekStart | None = None
    breakdown: Breakdown | None = None
    top: BreakdownTop | None = None


LineKind = Annotated[
    Literal["all", "value", "missing", "other"],
    Meta(
        description="`all`: without a breakdown; `missing`: no such property or group; `other`: beyond `top`, and long values."
    ),
]
Number = Annotated[float | int, Meta(description="null where there is nothing to measure.")]


class TrendLine(Struct, kw_only=True):
    """One number for each of `periods`."""

    kind: LineKind
    values: list[Number | None]
    value: BreakdownValue | UnsetType = UNSET


class TrendSeriesResult(Struct, kw_only=True):
    """The lines of a breakdown: the largest number of the whole time window first, by the measure."""

    event: str | list[str] | None
    measure: Measure
    lines: list[TrendLine]


class TrendsResult(WindowedResult, kw_only=True):
    """In the order of the query's series. `periods` are the starts of the time buckets; the first may lie before `since`."""

    interval: Interval
    periods: list[datetime]
    complete: Complete
    series: list[TrendSeriesResult]
    previous: "TrendsResult | UnsetType" = UNSET
    partial: Partial | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


class SavedTrends(TrendsQuery, kw_only=True, tag_field="type", tag="trends"):
    """A trends query of a dashboard."""

    title: Title | None = None
    width: TileWidth | None = None
