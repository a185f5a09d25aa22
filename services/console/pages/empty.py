"""When the data is: for `All time`, and for a query that found nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.console.frame.frame import Visit
from services.console.pages.suggestions import Suggested, catalog_of
from services.console.queries.asked import Asked
from services.console.queries.params import Pairs, Params
from services.console.queries.texts import ANY_EVENT, name_of
from services.console.queries.windows import ALL_TIME, dated, says_all_time
from services.console.results.numbers import zone_of
from services.console.results.result import Shown
from services.contract.api.catalog import CatalogEvent
from services.contract.api.timestamps import iso_time

_OF_EVENTS = ("born", "back", "start", "end", "event")


class Nothing(Struct, frozen=True):
    """`unknown`: events that nobody has sent, each with the name that is most like it. `address`: of the data's time."""

    unknown: list[tuple[str, str]] = []
    when: str = ""
    address: str = ""


async def with_days(visit: Visit) -> Pairs:
    """The parameters of a page, with the days of the data where they say `All time`."""
    if not says_all_time(visit.fields):
        return visit.fields
    catalog = await catalog_of(visit, None)
    return dated(visit.fields, _days(catalog.events, zone_of(visit.query.get("tz"))))


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
    first, last = _first_and_last(events)
    zone = zone_of(asked.params.one("tz"))
    span = shown.span or _span(asked.body or {}, zone)
    if span is not None and span[0] <= first and last < span[1]:
        return Nothing()
    pairs = [*asked.params.without("range", "since", "until").pairs, ("range", ALL_TIME)]
    return Nothing(
        [], _said(first.astimezone(zone), last.astimezone(zone)), Params(dated(pairs, _days(events, zone))).query()
    )


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


def _first_and_last(events: Sequence[CatalogEvent]) -> tuple[datetime, datetime]:
    return min(one.first_seen for one in events), max(one.last_seen for one in events)


def _days(events: Sequence[CatalogEvent], zone: ZoneInfo) -> tuple[str, str] | None:
    """The first day, and the one after the last."""
    if not events:
        return None
    first, last = (time.astimezone(zone).date() for time in _first_and_last(events))
    return first.isoformat(), (last + timedelta(days=1)).isoformat()


def _said(first: datetime, last: datetime) -> str:
    """`4 Jan to 29 Jun 2024`."""
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {first:%b}{year} to {last.day} {last:%b} {last.year}"
