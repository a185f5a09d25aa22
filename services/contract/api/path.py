"""The path query: its body and its result."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from services.contract.api.fields import (
    EventNames,
    Partial,
    People,
    SegmentedQuery,
    TileWidth,
    Title,
    Warnings,
    WindowedResult,
)
from services.contract.api.ingest import EventName

MAX_PATH_DEPTH = 20
MAX_PATH_TOP = 100
MAX_SESSION_GAP_S = 366 * 86_400
PathDirection = Literal["after", "before"]


class PathQuery(SegmentedQuery, kw_only=True):
    """What people did after their first start event, or what they had done before it."""

    start_event: EventNames
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


class SavedPath(PathQuery, kw_only=True, tag_field="type", tag="path"):
    """A path query of a dashboard."""

    title: Title | None = None
    width: TileWidth | None = None


class PathNode(Struct, kw_only=True, gc=False):
    """`count` people came here. `drop_off` of them did nothing more, `continued` went on beyond `max_depth`, `other` to events
    beyond the `top` children."""

    event: str
    count: People
    drop_off: People
    continued: People
    other: People
    children: list["PathNode"]


class PathResult(WindowedResult, kw_only=True):
    """The tree of what follows the start event `root`, or of what led to it. At each node: count = counts of children +
    other + drop_off + continued."""

    root: str | list[str] | None
    count: People
    drop_off: People
    continued: People
    other: People
    children: list[PathNode]
    previous: "PathResult | UnsetType" = UNSET
    partial: Partial | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET
