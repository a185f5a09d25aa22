"""Deleting a person's data, or a window of events."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from services.contract.api.fields import Since, Timezone, Until, Warnings
from services.contract.api.ingest import Id, IdempotencyKey


class PrivacyDelete(Struct, kw_only=True):
    """What to delete: a person with all ids (`distinct_id`), or the events of a window (`since` and `until`)."""

    distinct_id: Annotated[Id, Meta(description="Any id of the person.")] | None = None
    since: Since | None = None
    until: Until | None = None
    timezone: Timezone | None = None
    idempotency_key: IdempotencyKey | None = None


class Deletion(Struct, kw_only=True):
    """`done`: the data are rewritten without it. A person's events are in no answer from the beginning."""

    deletion_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    state: Literal["running", "done"]
    requested_at: datetime
    finished_at: datetime | None
    warnings: Warnings | UnsetType = UNSET
