"""All time, in the days that the data has now: asked for at each look, so that what comes later is in it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.console.frame.frame import Visit
from services.console.pages.suggestions import catalog_of
from services.console.queries.asked import Asked
from services.console.queries.kinds import has_buckets
from services.console.queries.params import Params
from services.console.queries.windows import all_as_dated, dated, says_all_time
from services.console.results.numbers import zone_of
from services.contract.api.catalog import CatalogEvent, CatalogResult
from services.runtime.clock import utc_now

Body = dict[str, Any]


async def exact(visit: Visit, asked: Asked) -> Asked:
    """What the API is asked: all time in days where it counts time buckets, which must not be more than it answers."""
    body = asked.body
    if body is None or not has_buckets(asked.kind) or not says_all_time(body):
        return asked
    found = await in_days(visit, body)
    pairs = asked.kind.params(found).pairs
    return Asked(asked.kind, Params(pairs if "last" in found else all_as_dated(pairs)), found, asked.wrong)


async def in_days(visit: Visit, body: Body) -> Body:
    """A window, or a body with one."""
    if not says_all_time(body):
        return body
    catalog = await catalog_of(visit, None)
    return dated(body, _days(catalog, zone_of(body.get("timezone")), utc_now()))


def first_and_last(events: Sequence[CatalogEvent]) -> tuple[datetime, datetime]:
    return min(one.first_seen for one in events), max(one.last_seen for one in events)


def _days(catalog: CatalogResult, zone: ZoneInfo, now: datetime) -> tuple[str, str] | None:
    """The first day, and the one after the last: after today where something came in that the catalog does not have yet."""
    if not catalog.events:
        return None
    first, last = (time.astimezone(zone).date() for time in first_and_last(catalog.events))
    today = now.astimezone(zone).date()
    if catalog.building or last >= today - timedelta(days=1):
        last = max(last, today)
    return first.isoformat(), (last + timedelta(days=1)).isoformat()
