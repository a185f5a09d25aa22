"""Where the time buckets of a time window begin: hours, days, weeks, months of a time zone. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Interval
from services.contract.api.timestamps import microseconds
from services.query.request.time_window import SECOND_US, TimeWindow
from services.runtime.clock import utc_time

MAX_BUCKETS = 1000
_HOUR_US = 3600 * SECOND_US
_MINUTE = timedelta(minutes=1)


def bucket_starts(window: TimeWindow, interval: Interval, *, sundays: bool = False) -> list[int]:
    """The first bucket holds `since` and may begin before it; the last begins before `until`.

    Days begin the first time that the local clock shows their midnight (or jumps over it), so they last 23 to 25
    hours where clocks change; a day that a zone left out has no bucket. Hours last 60 minutes, on the hour of the
    local clock at `since`. Weeks begin on Mondays, or on Sundays.
    """
    starts: list[int] = []
    for start in _borders(window.since_us, window.zone, interval, sundays):
        if start >= window.until_us:
            break
        if start <= window.since_us:
            starts = [start]
        elif start > starts[-1]:
            starts.append(start)
        if len(starts) > MAX_BUCKETS:
            raise ApiError(
                ErrorCode.QUERY_TOO_EXPENSIVE,
                f"The window holds more than {MAX_BUCKETS} time buckets of one {interval}. "
                "Ask for a longer `interval` or a narrower window.",
                field="interval",
            )
    return starts


def bucket_window(window: TimeWindow, starts: Sequence[int], bucket: int | None) -> TimeWindow:
    """What of the time window lies in one of its buckets; None: in any."""
    if bucket is None:
        return window
    until_us = starts[bucket + 1] if bucket + 1 < len(starts) else window.until_us
    return replace(window, since_us=max(starts[bucket], window.since_us), until_us=until_us)


def complete_buckets(
    starts: Sequence[int], zone: ZoneInfo, interval: Interval, now: datetime, *, sundays: bool = False
) -> list[bool]:
    """Which of the time buckets have ended by the clock, wherever the time window ends."""
    if interval == "hour":  # where a clock was put by half an hour, an hour begins at half past
        end = starts[-1] + _HOUR_US
    else:
        end = next(border for border in _borders(starts[-1], zone, interval, sundays) if border > starts[-1])
    return [border <= microseconds(now) for border in [*starts[1:], end]]


def last_border(us: int, window: TimeWindow, interval: Interval, *, sundays: bool = False) -> int:
    """The last border of the window's time buckets up to `us`; it may lie before the window."""
    if interval == "hour":
        first = next(_borders(window.since_us, window.zone, interval, sundays))
        return first + (us - first) // _HOUR_US * _HOUR_US
    return next(_borders(us, window.zone, interval, sundays))


def local_time(us: int, zone: ZoneInfo) -> datetime:
    """For answers: in the zone, or in UTC where RFC 3339 cannot write the zone's offset (some had seconds)."""
    local = utc_time(us).astimezone(zone)
    return local.astimezone(UTC) if (local.utcoffset() or timedelta(0)) % _MINUTE else local


def _borders(us: int, zone: ZoneInfo, interval: Interval, sundays: bool) -> Iterator[int]:
    """Of time buckets, from that on which holds `us`; without end."""
    if interval == "hour":
        local = utc_time(us).astimezone(zone)
        into_hour = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return count(us - into_hour // timedelta(microseconds=1), _HOUR_US)
    return _midnights(utc_time(us).astimezone(zone).date(), zone, interval, sundays)


def _midnights(day: date, zone: ZoneInfo, interval: Interval, sundays: bool) -> Iterator[int]:
    """Not strictly ascending: where a zone left out a day, its midnight is that of the next day."""
    if interval == "week":
        day -= timedelta(days=day.isoweekday() % 7 if sundays else day.weekday())
    elif interval == "month":
        day = day.replace(day=1)
    while True:
        # fold=0: of two midnights the first; of a midnight that was jumped over, the moment of the jump.
        yield microseconds(datetime.combine(day, time(0), zone))
        day = _next(day, interval)


def _next(day: date, interval: Interval) -> date:
    if interval == "month":
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)
