"""The people behind a number: of which query, of which of its numbers, and who they are."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import BreakdownValue, Cursor, Warnings
from services.contract.api.ingest import EventName
from services.contract.api.path import MAX_PATH_DEPTH
from services.contract.api.queries import SavedQuery
from services.contract.api.trends import LineKind

MAX_PAGE_LISTED = 1000
DEFAULT_PAGE_LISTED = 100
ListLimit = Annotated[int, Meta(ge=1, le=MAX_PAGE_LISTED, description="People on a page; default 100.")]
_Place = Annotated[int, Meta(ge=0, le=1_000_000)]


class CellLine(Struct, kw_only=True):
    """A line of a breakdown, as the answer has it."""

    kind: LineKind
    value: BreakdownValue | UnsetType = UNSET


class Cell(Struct, kw_only=True):
    """Which number of the answer. Trends: `series`, `bucket`, `line`. Retention: `cohort`, `offset`, `line`. Funnel: `step`,
    `part`, `line`. Path: `node`, `part`. Cohort: none of them."""

    series: Annotated[_Place, Meta(description="Place in `series`, from 0; default 0.")] | None = None
    bucket: Annotated[_Place, Meta(description="Place in `periods`, from 0; default: the whole window.")] | None = None
    cohort: Annotated[_Place, Meta(description="The matrix's row, from 0; default 0.")] | None = None
    offset: Annotated[_Place, Meta(description="The row's number, from 0 (who began); default 0.")] | None = None
    line: Annotated[CellLine, Meta(description="Line of the breakdown; default: all of them.")] | None = None
    step: Annotated[int, Meta(ge=1, le=20, description="From 1; default 1.")] | None = None
    node: (
        Annotated[
            list[EventName],
            Meta(max_length=MAX_PATH_DEPTH, description="The events from the root to the node; default: the root."),
        ]
        | None
    ) = None
    part: (
        Annotated[
            Literal["count", "drop_off", "continued", "other"],
            Meta(description="Which number of the step or node; default `count`, of steps `people`."),
        ]
        | None
    ) = None


class PeopleQuery(Struct, kw_only=True):
    """A query as a dashboard has it, with its `type`: retention, path, funnel, trends or cohort. And one of its numbers."""

    query: SavedQuery
    cell: Cell | None = None
    limit: ListLimit | None = None
    cursor: Cursor | None = None


class ListedPerson(Struct, kw_only=True):
    """A person with the traits of now."""

    person_id: str
    traits: dict[str, Annotated[Raw, Meta(extra_json_schema={})]]


class ListedGroup(Struct, kw_only=True):
    """A group with the traits of now."""

    group_key: str
    traits: dict[str, Annotated[Raw, Meta(extra_json_schema={})]]


class PeopleResult(Struct, kw_only=True):
    """`count` of them in all; a page of them, in an order of their own. `groups` in their place with `aggregate_by`."""

    count: Annotated[int, Meta(ge=0)]
    people: list[ListedPerson]
    groups: list[ListedGroup] | UnsetType = UNSET
    next_cursor: str | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET
