"""One person: what is known of them."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import Warnings

MAX_PERSON_IDS = 100_000


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
