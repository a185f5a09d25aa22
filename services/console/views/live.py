"""Live events: which are asked for, and how they are shown."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from services.contract.api.events import StoredEvent, receipt_of
from services.contract.api.timestamps import microseconds

SHOWN_EVENTS = 50
MAX_AT_ONCE = 200
RECENT = timedelta(hours=1)
_LOOK_BACK_US = 30_000_000
# Operators of a filter as people say them; those of one side need no value.
OPERATORS = {
    "eq": "is",
    "ne": "is not",
    "contains": "contains",
    "gt": "above",
    "lt": "below",
    "exists": "is there",
    "missing": "is not there",
}
# Events of any time come in, and some clocks are ahead.
_EVER = "2000-01-01"
_AHEAD = timedelta(days=1)
# Of the address, in the order of a LiveFilter's.
_FIELDS = ("event", "person", "property", "op", "value")


class LiveFilter(Struct, frozen=True):
    """What stands in the address of the page. `name`: of a property. Empty: everything."""

    event: str = ""
    person: str = ""
    name: str = ""
    op: str = "eq"
    value: str = ""

    @staticmethod
    def of(query: Mapping[str, str]) -> "LiveFilter":
        event, person, name, op, value = (query.get(field, "").strip() for field in _FIELDS)
        return LiveFilter(event, person, name, op if op in OPERATORS else "eq", value)

    @property
    def is_empty(self) -> bool:
        return not (self.event or self.person or self.name)

    def for_api(self) -> dict[str, Any]:
        """As queries have it."""
        conditions: dict[str, Any] = {}
        if self.event:
            conditions["event"] = self.event
        if self.person:
            conditions["person_id"] = self.person
        if self.name:
            conditions[self.name] = _condition(self.op, self.value)
        return conditions

    def for_address(self) -> dict[str, str]:
        values = (self.event, self.person, self.name, *((self.op, self.value) if self.name else ("", "")))
        return dict(zip(_FIELDS, values, strict=True))


def _condition(op: str, text: str) -> dict[str, Any]:
    if op in ("exists", "missing"):
        return {"exists": op == "exists"}
    return {op: text if op == "contains" else typed_value(text)}


def typed_value(text: str) -> Any:
    """What somebody typed, as JSON where it is a number, true, false or in quotes; else a text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return text
    return text if value is None or isinstance(value, dict | list) else value


def recent_events(live: LiveFilter, now: datetime) -> dict[str, Any]:
    """The body of the query for what was received in the last hour, whatever its time."""
    received = {"received_at": {"gte": _text(now - RECENT)}}
    return {**_page(now), "filter": {**live.for_api(), **received}}


def events_since(live: LiveFilter, after: str, now: datetime) -> dict[str, Any]:
    """What was received since `after`, with a look back."""
    since_us = max(int(looked_back(after) or microseconds(now)), microseconds(now - RECENT))
    received = {"received_at": {"gte": since_us}}
    return {**_page(now), "limit": MAX_AT_ONCE, "filter": {**live.for_api(), **received}}


def looked_back(after: str) -> str:
    """The receipt of a place in the stream, in microseconds, some time earlier: what was received before it may come into
    sight after it."""
    receipt_us = receipt_of(after)
    return "" if receipt_us is None else str(max(0, receipt_us - _LOOK_BACK_US))


def latest_events(live: LiveFilter, now: datetime) -> dict[str, Any]:
    """The same for the latest events of all."""
    return {**_page(now), "filter": live.for_api()}


def newest_first(events: list[StoredEvent]) -> list[StoredEvent]:
    return sorted(events, key=lambda event: event.received_at, reverse=True)


def _page(now: datetime) -> dict[str, Any]:
    return {"since": _EVER, "until": _text(now + _AHEAD), "order": "desc", "limit": SHOWN_EVENTS}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
