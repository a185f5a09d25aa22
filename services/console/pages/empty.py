"""When the data is: for a query about all time, and for one that found nothing."""

from datetime import datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.console.pages.all_time import first_and_last
from services.console.pages.suggestions import Suggested
from services.console.queries.asked import Asked
from services.console.queries.params import Params
from services.console.queries.texts import ANY_EVENT, name_of
from services.console.queries.windows import ALL_TIME, says_all_time
from services.console.results.numbers import zone_of
from services.console.results.result import Shown
from services.contract.api.timestamps import iso_time

_OF_EVENTS = ("born", "back", "start", "end", "event")


class Nothing(Struct, frozen=True):
    """`unknown`: events that nobody has sent, each with the name that is most like it. `address`: of the data's time."""

    unknown: list[tuple[str, str]] = []
    when: str = ""
    address: str = ""


def borders_of(asked: Asked, hints: Suggested) -> str:
    """When the data of all time is, for a query about it."""
    if not says_all_time(asked.body or {}) or not hints.seen:
        return ""
    zone = zone_of(asked.params.one("tz"))
    first, last = first_and_last(hints.seen)
    return _said(first.astimezone(zone), last.astimezone(zone))


def nothing_of(asked: Asked, shown: Shown | None, hints: Suggested) -> Nothing:
    """What may help whose query found nothing."""
    if shown is None or not shown.is_empty:
        return Nothing()
    seen = {one.event: one for one in hints.seen}
    named = _names(asked.params)
    unknown = [(name, _like(name, list(seen))) for name in named if name not in seen] if hints.knows_all else []
    events = [seen[name] for name in named if name in seen] or hints.seen
    if unknown or not events:
        return Nothing(unknown)
    first, last = first_and_last(events)
    zone = zone_of(asked.params.one("tz"))
    span = shown.span or _span(asked.body or {}, zone)
    if span is not None and span[0] <= first and last < span[1]:
        return Nothing()
    pairs = [*asked.params.without("range", "since", "until").pairs, ("range", ALL_TIME)]
    return Nothing([], _said(first.astimezone(zone), last.astimezone(zone)), Params(pairs).query())


def _span(body: dict[str, Any], zone: ZoneInfo) -> tuple[datetime, datetime] | None:
    """The window that a query says itself; None where it is not said in dates."""
    try:
        since, until = (iso_time(str(body[name])) for name in ("since", "until"))
    except (KeyError, ValueError):
        return None
    return _in_zone(since, zone), _in_zone(until, zone)


def _in_zone(time: datetime, zone: ZoneInfo) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=zone)


def _names(params: Params) -> list[str]:
    """Events that the query names, each once."""
    said = [value for key, value in params.pairs if key.rpartition(".")[2] in _OF_EVENTS]
    return list(dict.fromkeys(name_of(one) for one in said if one.strip() and one.strip() != ANY_EVENT))


def _like(name: str, names: list[str]) -> str:
    return next(iter(get_close_matches(name, names, 1)), "")


def _said(first: datetime, last: datetime) -> str:
    """`4 Jan to 29 Jun 2024`."""
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {first:%b}{year} to {last.day} {last:%b} {last.year}"
