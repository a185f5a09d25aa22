"""The cohort query: its body and its result."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from services.contract.api.fields import (
    Cohort,
    Cursor,
    Partial,
    People,
    TileWidth,
    Title,
    Warnings,
)

MAX_PAGE_PEOPLE = 1000


class CohortQuery(Struct, kw_only=True):
    """How many people a cohort has, and who they are, a page at a time."""

    cohort: Cohort
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_PEOPLE, description="People on a page; default 1000.")] | None = None
    cursor: Cursor | None = None


class SavedCohort(CohortQuery, kw_only=True, tag_field="type", tag="cohort"):
    """A cohort query of a dashboard."""

    title: Title | None = None
    width: TileWidth | None = None


class CohortResult(Struct, kw_only=True):
    """`size` is of the whole cohort; `people` are in an order of their own. `next_cursor`: while there are more."""

    size: People
    people: Annotated[list[str], Meta(description="Person ids.")]
    next_cursor: str | UnsetType = UNSET
    partial: Partial | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET
