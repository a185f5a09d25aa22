"""The bodies and answers of the calls about people: cohorts, single persons.

These types validate; what a cohort means is services/query/request/cohorts.py's.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import Cohort, Cursor, People, Since, Timezone, Title, Until, Warnings
from services.contract.api.ingest import Id, IdempotencyKey

MAX_PAGE_PEOPLE = 1000
MAX_PERSON_IDS = 100_000


class CohortQuery(Struct, kw_only=True):
    """How many people a cohort has, and who they are, a page at a time."""

    cohort: Cohort
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_PEOPLE, description="People on a page; default 1000.")] | None = None
    cursor: Cursor | None = None


class SavedCohort(CohortQuery, kw_only=True, tag_field="type", tag="cohort"):
    """A cohort question of a dashboard."""

    title: Title | None = None


class CohortAnswer(Struct, kw_only=True):
    """`size` is of the whole cohort; `people` are in an order of their own. `next_cursor`: while there are more."""

    size: People
    people: Annotated[list[str], Meta(description="Person ids.")]
    next_cursor: str | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


class Person(Struct, kw_only=True):
    """What is known of a person over all ids. `first_seen` and `last_seen` are of events; null without any.

    `traits`: the latest value of each; `groups`: by type, the key of the group that the person was put into last.
    """

    person_id: str
    distinct_ids: list[str]
    traits: dict[str, Annotated[Raw, Meta(extra_json_schema={})]]
    groups: dict[str, str]
    first_seen: datetime | None
    last_seen: datetime | None
    events: Annotated[int, Meta(ge=0, description="Number of events.")]
    warnings: Warnings | UnsetType = UNSET


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
