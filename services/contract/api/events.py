"""The events query: its body and its result."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.contract.api.fields import (
    Cursor,
    FilteredQuery,
    Order,
    Partial,
    TileWidth,
    Title,
    Warnings,
    WindowedResult,
)

MAX_PAGE_EVENTS = 1000


class EventsQuery(FilteredQuery, kw_only=True):
    """Single events in order of time, a page at a time."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_EVENTS, description="Events on a page; default 1000.")] | None = None
    cursor: Cursor | None = None
    order: Annotated[Order, Meta(description="By (timestamp, event_id); default asc.")] | None = None


class SavedEvents(EventsQuery, kw_only=True, tag_field="type", tag="events"):
    """An events query of a dashboard."""

    title: Title | None = None
    width: TileWidth | None = None


class StoredEvent(Struct, kw_only=True):
    """One event as it is stored. `original_timestamp`: the time as sent, where it was too far ahead to be believed, or
    by an SDK's clock that was wrong."""

    event_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    event: str
    distinct_id: str
    person_id: str
    timestamp: datetime
    received_at: datetime
    properties: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
    idempotency_key: str | None
    original_timestamp: str | UnsetType = UNSET


class EventsResult(WindowedResult, kw_only=True):
    """`next_cursor` is there while there are more events."""

    events: list[StoredEvent]
    next_cursor: str | UnsetType = UNSET
    previous: "EventsResult | UnsetType" = UNSET
    partial: Partial | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


def receipt_of(place: str) -> int | None:
    """The time of receipt, in microseconds, of a place in the stream of live events: it alone, or with `-` and an event's id
    behind it. None where it is no place."""
    receipt = place.partition("-")[0]
    return int(receipt) if receipt.isascii() and receipt.isdigit() and len(receipt) < 18 else None
