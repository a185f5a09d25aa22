"""The body and the answer of running a dashboard."""

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.errors import ErrorDetail
from services.contract.api.fields import Since, Timezone, Until, Warnings


class DashboardRun(Struct, kw_only=True):
    """What stands in for the queries' own fields; null and absent leave them."""

    since: Since | None = None
    until: Until | None = None
    timezone: Timezone | None = None


class DashboardAnswer(Struct, kw_only=True):
    """Either `answer`, as the call of that `type` gives it, or `error`."""

    type: str
    title: str | UnsetType = UNSET
    answer: Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET
    error: ErrorDetail | UnsetType = UNSET


class DashboardRunAnswer(Struct, kw_only=True):
    """The answers are in the order of the dashboard's queries."""

    dashboard_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    name: str
    answers: list[DashboardAnswer]
    warnings: Warnings | UnsetType = UNSET
