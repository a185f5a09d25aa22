"""Windows in words by brute force: a walk through time by quarters of an hour, with a look at the local calendar at each."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_STEP = timedelta(minutes=15)
Label = Callable[[datetime], Any]


def label_of(unit: str, zone: ZoneInfo, *, sundays: bool = False) -> Label:
    """What a moment's hour, day, week, month, quarter or year is called."""

    def label(time: datetime) -> Any:
        local = time.astimezone(zone)
        day = local.date()
        match unit:
            case "hour":
                return time - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
            case "day":
                return day
            case "week":
                return day - timedelta(days=day.isoweekday() % 7 if sundays else day.weekday())
            case "month":
                return day.year, day.month
            case "quarter":
                return day.year, (day.month - 1) // 3
        return day.year

    return label


def begin_of(label: Label, time: datetime, before: int = 0) -> datetime:
    """Where the unit of a moment begins, or the one that is so many before it."""
    at = _quarter(time)
    seen = {label(at)}
    while True:
        earlier = at - _STEP
        if label(earlier) not in seen:
            if len(seen) > before:
                return at
            seen.add(label(earlier))
        at = earlier


def end_of(label: Label, time: datetime) -> datetime:
    at = _quarter(time)
    while label(at) == label(time):
        at += _STEP
    return at


def _quarter(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=time.minute // 15 * 15, second=0, microsecond=0)


def months_before(end: date, months: int) -> date:
    """The end of the same days of an earlier month: of all of its days where it has fewer."""
    first = date(end.year, end.month, 1)
    for _ in range(months):
        first = (first - timedelta(days=1)).replace(day=1)
    at = first
    for _ in range(end.day - 1):
        at += timedelta(days=1)
        if at.month != first.month:
            break
    return at
