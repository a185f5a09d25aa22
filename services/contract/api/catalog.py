"""The catalog: which events, properties, traits and groups a project has."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import Warnings
from services.contract.api.ingest import EventName

MAX_CATALOG_NAMES = 1000
# Of a property: values that are shown, and how long one may be.
MAX_TOP_VALUES = 20
MAX_VALUE_BYTES = 200

_Value = Annotated[Raw, Meta(extra_json_schema={})]
_Share = Annotated[float, Meta(ge=0, le=1)]


class CatalogQuery(Struct, kw_only=True):
    """All events, traits and groups, and the properties of one event."""

    event: Annotated[EventName, Meta(description="List the properties of this event too; default none.")] | None = None
    search: (
        Annotated[str, Meta(max_length=200, description="Only names with this text in them, in any case.")] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MAX_CATALOG_NAMES, description="Names of a list; default 1000.")] | None = None


class CatalogEvent(Struct, kw_only=True):
    """`people` is an estimate, some 2 % off."""

    event: str
    events: Annotated[int, Meta(ge=0)]
    people: Annotated[int, Meta(ge=0)]
    first_seen: datetime
    last_seen: datetime


class CatalogValue(Struct, kw_only=True):
    """A value, and its part of the sample."""

    value: _Value
    share: _Share


class CatalogProperty(Struct, kw_only=True):
    """`share`: the part of the sample that has it; `types`: of their values, the part of each type of JSON."""

    name: str
    share: _Share
    types: dict[str, _Share]
    top: list[CatalogValue]


class CatalogTraits(Struct, kw_only=True):
    """`sample`: how many people, or groups, were looked at."""

    sample: Annotated[int, Meta(ge=0)]
    traits: list[CatalogProperty]


class CatalogGroup(CatalogTraits, kw_only=True):
    """A type of groups. `groups` is an estimate, some 2 % off."""

    group_type: str
    groups: Annotated[int, Meta(ge=0)]


class CatalogProperties(Struct, kw_only=True):
    """Of one event; `sample`: how many of its events were looked at."""

    event: str
    sample: Annotated[int, Meta(ge=0)]
    properties: list[CatalogProperty]


class CatalogResult(Struct, kw_only=True):
    """`events`: most first, as of `built_at` (null: not built yet). `building`: something was stored or deleted since. Numbers of
    groups are built too; all else is of a sample of what is stored now."""

    built_at: datetime | None
    building: bool
    events: list[CatalogEvent]
    people: CatalogTraits
    groups: list[CatalogGroup]
    properties: CatalogProperties | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET
