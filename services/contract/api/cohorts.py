"""Saved cohorts: rules and lists of ids under a name, usable in every query as `{"saved": name}`."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import Cohort, CohortName, Warnings
from services.contract.api.ingest import Id

MAX_COHORT_IDS = 1_000_000
MAX_SAVED_COHORTS = 1000
# Of a rule, as much as a query may have; of all rules of a project, as they are listed at once.
MAX_RULE_BYTES, MAX_RULES_BYTES = 1024 * 1024, 8 * 1024 * 1024


class CohortSave(Struct, kw_only=True):
    """Either a rule (`cohort`), asked again with each query, or a list of ids, each of which stands for its person."""

    cohort: Cohort | None = None
    ids: Annotated[list[Id], Meta(min_length=1, max_length=MAX_COHORT_IDS)] | None = None


class CohortInfo(Struct, kw_only=True):
    """`cohort`: the rule as it was sent; `ids`: how many different ones the list has."""

    name: CohortName
    kind: Literal["rule", "list"]
    cohort: Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET
    ids: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    updated_at: datetime
    warnings: Warnings | UnsetType = UNSET


class CohortList(Struct, kw_only=True):
    """All of the project, by name."""

    items: list[CohortInfo]
