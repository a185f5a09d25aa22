"""Dashboards: saved queries, kept under an id and run together."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.errors import ErrorDetail
from services.contract.api.fields import (
    MAX_TITLE_CHARS,
    Compare,
    Last,
    Previous,
    Since,
    This,
    Timezone,
    Until,
    Warnings,
    WholePeriods,
)
from services.contract.api.ingest import IdempotencyKey
from services.contract.api.queries import SavedQuery

MAX_DASHBOARD_QUERIES = 50
MAX_PAGE_DASHBOARDS = 100
# A page with fewer dashboards ends early at so many bytes, with a cursor.
MAX_PAGE_BYTES = 8 * 1024 * 1024
# Of all answers of a dashboard that is run; queries beyond it get an error of their own.
MAX_RUN_BYTES = 32 * 1024 * 1024
DashboardName = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS, examples=["Weekly review"])]


class DashboardCreate(Struct, kw_only=True):
    """A named list of saved queries; each is validated now."""

    name: DashboardName
    queries: Annotated[list[SavedQuery], Meta(max_length=MAX_DASHBOARD_QUERIES)]
    idempotency_key: IdempotencyKey | None = None


class DashboardUpdate(Struct, kw_only=True):
    """What the dashboard is from now; `version` is the one that was read: if it is another one by now, nothing is changed."""

    name: DashboardName
    queries: Annotated[list[SavedQuery], Meta(max_length=MAX_DASHBOARD_QUERIES)]
    version: Annotated[int, Meta(ge=0)]


class DashboardDelete(Struct, kw_only=True):
    """Deleting is idempotent by itself; the key is taken and not needed."""

    idempotency_key: IdempotencyKey | None = None


class Dashboard(Struct, kw_only=True):
    """`queries` as they were sent. `version` grows with each change."""

    dashboard_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    name: str
    queries: list[Annotated[Raw, Meta(extra_json_schema={"type": "object"})]]
    created_at: datetime
    updated_at: datetime
    version: int
    warnings: Warnings | UnsetType = UNSET


class DashboardList(Struct, kw_only=True):
    """In order of creation, at most 8 MiB of them. `next_cursor` is there while there are more."""

    items: list[Dashboard]
    next_cursor: str | UnsetType = UNSET


class Deleted(Struct, kw_only=True):
    """There is no such dashboard (any more)."""

    ok: bool = True
    warnings: Warnings | UnsetType = UNSET


class DashboardRun(Struct, kw_only=True):
    """What stands in for the queries' own fields; null and absent leave them. A window in one form replaces the other forms."""

    since: Since | None = None
    until: Until | None = None
    timezone: Timezone | None = None
    last: Last | None = None
    this: This | None = None
    previous: Previous | None = None
    whole_periods: WholePeriods | None = None
    compare: Compare | None = None


class DashboardQueryResult(Struct, kw_only=True):
    """Either `answer`, as the call of that `type` gives it, or `error`."""

    type: str
    title: str | UnsetType = UNSET
    answer: Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET
    error: ErrorDetail | UnsetType = UNSET


class DashboardRunResult(Struct, kw_only=True):
    """The answers are in the order of the dashboard's queries."""

    dashboard_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    name: str
    answers: list[DashboardQueryResult]
    warnings: Warnings | UnsetType = UNSET
