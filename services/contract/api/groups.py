"""One group: what is known of it."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Raw, Struct

MAX_GROUP_MEMBERS = 1000


class GroupProfile(Struct, kw_only=True):
    """`members`: the people who were put into it last, of its type; the first 1000 by id are listed in `people`.
    `first_seen` and `last_seen` are of calls that named it."""

    group_type: str
    group_key: str
    traits: dict[str, Annotated[Raw, Meta(extra_json_schema={})]]
    members: Annotated[int, Meta(ge=0)]
    people: list[str]
    first_seen: datetime
    last_seen: datetime
