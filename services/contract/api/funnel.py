"""The funnel query: its body and its result."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from services.contract.api.fields import (
    Breakdown,
    BreakdownKind,
    BreakdownTop,
    BreakdownValue,
    EventNames,
    Filter,
    Partial,
    People,
    SegmentedQuery,
    TileWidth,
    Title,
    Warnings,
    WindowedResult,
)

MAX_STEPS = 20
MAX_CONVERSION_WINDOW_S = 366 * 86_400
MAX_LISTED_PEOPLE = 1000

FunnelOrder = Literal["ordered", "strict", "any"]
Share = Annotated[float, Meta(ge=0, le=1, description="A part of 1; null where there is nobody to compare with.")]
Seconds = Annotated[float, Meta(ge=0, description="From the step before to this one; null where nobody came.")]


class FunnelStep(Struct, kw_only=True):
    """An event, and what must hold of it."""

    event: EventNames
    filter: Filter = field(default_factory=Raw)


class FunnelQuery(SegmentedQuery, kw_only=True):
    """How many people took each of several steps, and how long it took them."""

    steps: Annotated[list[FunnelStep], Meta(min_length=2, max_length=MAX_STEPS)]
    order: (
        Annotated[
            FunnelOrder,
            Meta(
                description="`ordered`: other events may come between; `strict`: none may; `any`: the steps in any "
                "order, step k of the answer being any k of them. Default ordered."
            ),
        ]
        | None
    ) = None
    conversion_window_seconds: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_CONVERSION_WINDOW_S,
                description="All steps within so many seconds of the first, to the second inclusive, also after `until`; "
                "the first lies before it. Default: all steps before `until`.",
            ),
        ]
        | None
    ) = None
    breakdown: (
        Annotated[Breakdown, Meta(description="Property of the event that is step 1, or `group.<type>` of the person.")]
        | None
    ) = None
    top: BreakdownTop | None = None
    people_of_step: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_STEPS, description="List the first 1000 people who came to this step; default none."),
        ]
        | None
    ) = None


class FunnelStepResult(Struct, kw_only=True):
    """`drop_off` of the `people` went no further (0 at the last step). With `order: any` a step has no `event`."""

    people: People
    drop_off: People
    conversion_from_start: Share | None
    conversion_from_before: Share | None
    median_seconds: Seconds | None
    p90_seconds: Seconds | None
    event: str | list[str] | UnsetType | None = UNSET


class FunnelBreakdown(Struct, kw_only=True):
    """The funnel of those whose first step had this value."""

    kind: BreakdownKind
    steps: list[FunnelStepResult]
    value: BreakdownValue | UnsetType = UNSET


class FunnelPeople(Struct, kw_only=True):
    """In order of their ids. `more`: there are more than are listed."""

    step: int
    people: list[str]
    more: bool


class FunnelResult(WindowedResult, kw_only=True):
    """`breakdown`: most people at step 1 first."""

    order: FunnelOrder
    steps: list[FunnelStepResult]
    breakdown: list[FunnelBreakdown] | UnsetType = UNSET
    listed: FunnelPeople | UnsetType = UNSET
    previous: "FunnelResult | UnsetType" = UNSET
    partial: Partial | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


class SavedFunnel(FunnelQuery, kw_only=True, tag_field="type", tag="funnel"):
    """A funnel query of a dashboard."""

    title: Title | None = None
    width: TileWidth | None = None
