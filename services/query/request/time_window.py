"""since, until and timezone as they are sent -> a window in microseconds since 1970. Pure."""

from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import WindowedQuery
from services.contract.api.timestamps import FORMS, epoch_us, iso_time, microseconds

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
UTC_ZONE = ZoneInfo("UTC")
# The sorting key holds toDate(timestamp), and ClickHouse's Date reaches from 1970 to 2149. No event lies outside:
# the edge takes times from 2000 to now. A window that reaches further is cut to these.
EARLIEST_US = 0
LATEST_US = (datetime(2149, 1, 1) - _EPOCH) // _MICROSECOND
# Further from 1970 than any time, and still a number that all arithmetic here takes.
_BEYOND_US = 10**18


class TimeWindow(Struct, frozen=True):
    """Events at `since_us` and later, before `until_us`; `zone` is where days begin."""

    since_us: int
    until_us: int
    zone: ZoneInfo


def parse_time_window(since: str | float, until: str | float, zone_name: str | None) -> TimeWindow:
    """Raises ApiError for what is no time, no zone, or no window. Wider than the store's times: cut to them."""
    zone = parse_zone(zone_name)
    since_us, until_us = _parse_time(since, "since", zone), _parse_time(until, "until", zone)
    if since_us >= until_us:
        raise ApiError(
            ErrorCode.INVALID_WINDOW,
            "`since` must be before `until`: `since` is the first moment of the window, `until` is the first after it.",
            field="until",
        )
    window = TimeWindow(max(since_us, EARLIEST_US), min(until_us, LATEST_US), zone)
    if window.since_us >= window.until_us:
        raise ApiError(ErrorCode.INVALID_WINDOW, "The window must reach into the years 1970 to 2148.", field="since")
    return window


def window_of(query: WindowedQuery) -> TimeWindow:
    """Of a query that says `since` and `until`. Raises ApiError."""
    if query.since is None or query.until is None:
        missing = "since" if query.since is None else "until"
        raise ApiError(ErrorCode.MISSING_FIELD, f"`{missing}` is required.", field=missing)
    return parse_time_window(query.since, query.until, query.timezone)


def parse_zone(name: str | None) -> ZoneInfo:
    # Compared with the list first: ZoneInfo opens files by that name.
    if name is None:
        name = "UTC"
    if name not in zone_names():
        raise ApiError(
            ErrorCode.INVALID_TIMEZONE,
            f"`timezone`: there is no `{name[:64]}`. Use an IANA name such as Europe/Berlin, or UTC.",
            field="timezone",
        )
    return ZoneInfo(name)


@cache
def zone_names() -> frozenset[str]:
    """Reads the whole time zone database once (about 50 ms). `localtime` is another zone on each machine."""
    return frozenset(available_timezones() - {"localtime"})


def time_us(value: object, zone: ZoneInfo = UTC_ZONE) -> int:
    """Microseconds since 1970 of a text or a number; `zone` is that of texts without an offset. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number(value)
    if not isinstance(value, str):
        raise ValueError("neither a text nor a number")
    time = iso_time(value)
    if time.tzinfo is None:
        # Year 1 and year 9999 lie beyond what zone rules can be asked for.
        time = time.replace(tzinfo=zone if 1 < time.year < 9999 else timezone.utc)  # noqa: UP017
    return microseconds(time)


def _parse_time(value: str | float, field: str, zone: ZoneInfo) -> int:
    try:
        return time_us(value, zone)
    except ValueError as error:
        raise ApiError(
            ErrorCode.INVALID_TIMESTAMP,
            f"`{field}`: `{str(value)[:64]}` is not a date and time. Use {FORMS}.",
            field=field,
        ) from error


def _of_number(value: float) -> int:
    # Python writes no integer of thousands of digits.
    if abs(value) >= _BEYOND_US * 1000:
        return _BEYOND_US if value > 0 else -_BEYOND_US
    return max(min(epoch_us(repr(value)), _BEYOND_US), -_BEYOND_US)
