"""People and groups: which calls show them, and what of the answers is shown."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from services.contract.api.events import StoredEvent
from services.contract.api.people import ListedPerson
from services.contract.api.persons import Person

FOUND_PEOPLE = 50
TIME_LINE_EVENTS = 50
SHOWN_IDS = 20
# Of the time window of a list: its end is not inside.
_BEHIND = timedelta(seconds=1)


class Window(Struct, frozen=True):
    """Of a time line. It stands in the address of the next page: a cursor goes on with the same query only."""

    since: str
    until: str

    @staticmethod
    def of(query: Mapping[str, str], first: datetime, last: datetime) -> "Window":
        if query.get("cursor"):
            return Window(query.get("since", ""), query.get("until", ""))
        return Window(_text(first), _text(last + _BEHIND))


def time_line_body(conditions: dict[str, Any], window: Window, cursor: str) -> dict[str, Any]:
    """The events of a person or a group, newest first."""
    body = {
        "since": window.since,
        "until": window.until,
        "filter": conditions,
        "order": "desc",
        "limit": TIME_LINE_EVENTS,
    }
    return {**body, "cursor": cursor} if cursor else body


def with_exact_first(found: list[ListedPerson], exact: Person | None) -> list[ListedPerson]:
    """A search looks through ids of the last 90 days; who has the very id is found whenever they were there."""
    if exact is None:
        return found
    others = [person for person in found if person.person_id != exact.person_id]
    return [ListedPerson(person_id=exact.person_id, traits=exact.traits), *others]


def seen_last(events: list[StoredEvent]) -> list[StoredEvent]:
    """The newest event of each person."""
    newest: dict[str, StoredEvent] = {}
    for event in sorted(events, key=lambda one: one.received_at, reverse=True):
        newest.setdefault(event.person_id, event)
    return list(newest.values())


def groups_body(group_type: str, last: str) -> dict[str, Any]:
    """The groups of a type that did anything in the time window."""
    query = {"type": "trends", "series": [{"event": None}], "aggregate_by": group_type, "last": last}
    return {"query": query, "limit": 100}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
