"""One person: what is known of them."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import Warnings
from services.contract.api.people import ListedPerson

MAX_PERSON_IDS = 100_000
MAX_PERSON_LINKS = 1000
MAX_FOUND_PEOPLE = 100

_Counts = Annotated[bool, Meta(description="Whether it joins the two ids.")]
_Reason = Annotated[str, Meta(description="Why it does not count.")]


class PersonLink(Struct, kw_only=True):
    """An identify call that said that `prior_id` is of the user `user_id`."""

    prior_id: str
    user_id: str
    timestamp: datetime
    received_at: datetime
    counts: _Counts
    reason: _Reason | UnsetType = UNSET


class PersonMerge(Struct, kw_only=True):
    """An alias call, or an identify call with `alias_for`."""

    old_id: str
    new_id: str
    timestamp: datetime
    received_at: datetime
    counts: _Counts
    reason: _Reason | UnsetType = UNSET


class Person(Struct, kw_only=True):
    """What is known of a person over all ids. `first_seen` and `last_seen` are of events; null without any.

    `traits`: what each is now; `groups`: by type, the key of the group that the person was put into last. `links` and
    `merges`: all that name an id of the person, in the order of their times.
    """

    person_id: str
    distinct_ids: list[str]
    traits: dict[str, Annotated[Raw, Meta(extra_json_schema={})]]
    groups: dict[str, str]
    links: list[PersonLink]
    merges: list[PersonMerge]
    first_seen: datetime | None
    last_seen: datetime | None
    events: Annotated[int, Meta(ge=0, description="Number of events.")]
    warnings: Warnings | UnsetType = UNSET


class PersonSearch(Struct, kw_only=True):
    """Whose id or trait has the text in it; those whose id begins with it first. `more`: others have it too."""

    people: list[ListedPerson]
    more: bool
