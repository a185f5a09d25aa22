"""Windows in words (`last`, `this`, `previous`, `whole_periods`, `compare`) -> `since` and `until`. Pure.

A body is made absolute before anything else looks at it, the rules of its cohort too. So whatever parses a query knows
`since` and `until` alone. Windows that go up to now end with the current hour or day: asked again meanwhile, a body is the
same query.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import asdict, replace

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.events import EventsQuery
from services.contract.api.fields import CalendarUnit, Cohort, Interval, Window, WindowedQuery
from services.contract.api.timestamps import microseconds
from services.contract.api.validation import invalid_field
from services.query.request.time_buckets import last_border
from services.query.request.time_window import EARLIEST_US, TimeWindow, parse_time_window, parse_zone
from services.runtime.clock import utc_time

Q = TypeVar("Q", bound=Struct)

_LAST = re.compile(r"([1-9][0-9]{0,3})(h|d|w|mo|months?)", re.ASCII)
_FORMS = ("last", "this", "previous")
_WORDS = (*_FORMS, "whole_periods", "compare")
_MONTHS: dict[str, int] = {"month": 1, "quarter": 3, "year": 12}
_FIRST = datetime(1970, 1, 2)


class Shift(NamedTuple):
    """How far the window before lies back: months and local time; `elapsed`: time by the clock instead."""

    months: int = 0
    local: timedelta = timedelta(0)
    elapsed: timedelta = timedelta(0)


class Absolute(NamedTuple):
    """A query with `since` and `until`. `window`: to be shown, where the query did not say it so. `before`: the same of the
    window before, where it is to be compared."""

    query: Any
    window: Window | None
    before: "Absolute | None" = None


class WordedCohort(Cohort, kw_only=True):
    """A rule whose window was said in `words`: see `words_of`."""

    words: tuple[object, ...]


class WordedEvents(EventsQuery, kw_only=True):
    """The same of a query whose pages are walked through."""

    words: tuple[object, ...]


def words_of(said_in: WindowedQuery | Cohort) -> tuple[object, ...]:
    """What a window in words was called: it stays the same while its times go on. Of times, where `whole_periods` cuts their
    end, the times as they were said."""
    said = tuple(getattr(said_in, name) for name in (*_FORMS, "whole_periods", "timezone"))
    if any(said[: len(_FORMS)]):
        return said
    if not said_in.whole_periods or said_in.since is None or said_in.until is None:
        return ()
    window = parse_time_window(said_in.since, said_in.until, said_in.timezone)
    return window.since_us, window.until_us, *said[len(_FORMS) :]


def absolute(query: Struct, now: datetime) -> Absolute:
    """The query with `since` and `until` in the place of words, and the one of the window before where it is to be compared.

    Raises ApiError.
    """
    cohort = getattr(query, "cohort", None)
    if isinstance(cohort, Cohort):
        query = replace(query, cohort=absolute_cohort(cohort, now))
    if not isinstance(query, WindowedQuery) or all(getattr(query, name) in (None, False) for name in _WORDS):
        return Absolute(query, None)
    window, shift = _resolve(query, now)
    found = _with(query, window)
    if isinstance(found, EventsQuery):
        # Of a dashboard's query without what it alone has: title and width.
        said = {name: getattr(found, name) for name in EventsQuery.__struct_fields__}
        found = WordedEvents(**said, words=words_of(query))
    if query.compare is None:
        return Absolute(found, _shown(window))
    if getattr(query, "cursor", None) is not None:
        raise invalid_field("compare", "does not go with a `cursor`: only the first pages are compared")
    before = _shifted(window, shift)
    asked_alone = replace(_with(query, before), **dict.fromkeys(_WORDS))
    return Absolute(found, _shown(window), Absolute(asked_alone, _shown(before)))


def at_any_time(query: Q) -> Q:
    """The query, or cohort, as it may be saved: that nothing of its windows has ended yet is no fault of it."""
    cohort = getattr(query, "cohort", None)
    if isinstance(cohort, Cohort):
        query = replace(query, cohort=at_any_time(cohort))
    if isinstance(query, WindowedQuery) or (isinstance(query, Cohort) and (query.did or query.did_not)):
        return replace(query, whole_periods=None)
    if not isinstance(query, Cohort):
        return query
    parts = {name: [at_any_time(part) for part in getattr(query, name) or ()] or None for name in ("all_of", "any_of")}
    return replace(query, **parts, none_of=query.none_of and at_any_time(query.none_of))


def absolute_cohort(cohort: Cohort, now: datetime, place: str = "cohort") -> Cohort:
    """The same of all rules."""
    changes: dict[str, Any] = {}
    for name, kind in (("all_of", "and"), ("any_of", "or")):
        parts = getattr(cohort, name)
        if parts:
            changes[name] = [absolute_cohort(part, now, f"{place}.{kind}[{i}]") for i, part in enumerate(parts)]
    if cohort.none_of is not None:
        changes["none_of"] = absolute_cohort(cohort.none_of, now, f"{place}.not")
    is_of_events = cohort.did is not None or cohort.did_not is not None
    if not is_of_events or all(getattr(cohort, name) in (None, False) for name in (*_FORMS, "whole_periods")):
        return replace(cohort, **changes) if changes else cohort
    try:
        window, _ = _resolve(cohort, now)
    except ApiError as error:
        raise error.within(place) from error
    words = words_of(cohort)
    changes |= dict.fromkeys((*_FORMS, "whole_periods")) | _times(window)
    return WordedCohort(**{**asdict(cohort), **changes}, words=words)


def _with(query: Q, window: TimeWindow) -> Q:
    return replace(query, **_times(window))


def _times(window: TimeWindow) -> dict[str, str]:
    return {"since": utc_time(window.since_us).isoformat(), "until": utc_time(window.until_us).isoformat()}


def _shown(window: TimeWindow) -> Window:
    return Window(since=utc_time(window.since_us), until=utc_time(window.until_us))


def _resolve(said: Any, now: datetime) -> tuple[TimeWindow, Shift]:
    forms = [name for name in _FORMS if getattr(said, name) is not None]
    times = [name for name in ("since", "until") if getattr(said, name) is not None]
    if len(forms) > 1 or (forms and times):
        one_too_many = (times + forms)[-1] if times else forms[-1]
        raise invalid_field(
            one_too_many, "is one window too many: say `since` and `until`, or one of `last`, `this` and `previous`"
        )
    zone = parse_zone(said.timezone)
    if not forms:
        for name in ("since", "until"):
            if getattr(said, name) is None:
                raise ApiError(ErrorCode.MISSING_FIELD, f"`{name}` is required.", field=name)
        window = parse_time_window(said.since, said.until, said.timezone)
        by_hours, shift = False, None
    else:
        by_hours = _is_in_hours(said)
        window, shift = _in_words(said, zone, now)
    if said.whole_periods:
        window = _whole(window, said, now, by_hours)
    if shift is None or (said.whole_periods and said.last is not None):
        shift = _length(window, by_hours)
    return window, shift


def _in_words(said: Any, zone: ZoneInfo, now: datetime) -> tuple[TimeWindow, Shift | None]:
    """None: as long as the window is."""
    local = now.astimezone(zone)
    sundays = getattr(said, "week_start", None) == "sunday"
    hours = getattr(said, "interval", None) == "hour" or _is_in_hours(said)
    until_us = _hour(now, zone) + 3_600_000_000 if hours else _midnight(local.date() + timedelta(days=1), zone)
    if said.previous is not None:
        until = _begin(local.date(), said.previous, sundays)
        since = _back(until, said.previous)
        return _window(_midnight(since, zone), _midnight(until, zone), zone), None
    if said.this is not None:
        since = _begin(local.date(), said.this, sundays)
        months = _MONTHS.get(said.this, 0)
        days = {"day": 1, "week": 7}.get(said.this, 0)
        return _window(_midnight(since, zone), until_us, zone), Shift(months, timedelta(days=days))
    number, unit = _last(said.last)
    if unit == "h":
        since_us = _hour(now, zone) - number * 3_600_000_000
        return _window(since_us, until_us, zone), Shift(elapsed=timedelta(hours=number + 1))
    unit_name: CalendarUnit = {"d": "day", "w": "week"}.get(unit, "month")  # type: ignore[assignment]
    since = _back(_begin(local.date(), unit_name, sundays), unit_name, number)
    if unit_name == "month":
        shift = Shift(months=number + 1)
    else:
        shift = Shift(local=timedelta(days=(number + 1) * (7 if unit_name == "week" else 1)))
    return _window(_midnight(since, zone), until_us, zone), shift


def _is_in_hours(said: Any) -> bool:
    return said.last is not None and _last(said.last)[1] == "h"


def _last(text: str) -> tuple[int, str]:
    found = _LAST.fullmatch(text)
    if found is None:
        raise invalid_field(
            "last", "must be a number from 1 to 9999 with h, d, w, mo or months behind it, such as `30d`"
        )
    return int(found[1]), found[2]


def _whole(window: TimeWindow, said: Any, now: datetime, by_hours: bool) -> TimeWindow:
    """Up to the last border of time buckets that has passed."""
    interval: Interval = getattr(said, "interval", None) or (
        "hour" if by_hours and not hasattr(said, "interval") else "day"
    )
    sundays = getattr(said, "week_start", None) == "sunday"
    # Hours are counted from the window's begin, as its time buckets are.
    end = last_border(microseconds(now), window, interval, sundays=sundays)
    if window.until_us <= end:
        return window
    if end <= window.since_us:
        raise ApiError(
            ErrorCode.INVALID_WINDOW,
            f"Nothing of the window has ended yet: it has no whole {interval}. Leave out `whole_periods`, or ask for more.",
            field="whole_periods",
        )
    return TimeWindow(window.since_us, end, window.zone)


def _length(window: TimeWindow, by_hours: bool) -> Shift:
    """Of a window from midnight to midnight in days, of one of whole months in months."""
    since, until = (utc_time(us).astimezone(window.zone) for us in (window.since_us, window.until_us))
    if by_hours or not (_is_midnight(window.since_us, window.zone) and _is_midnight(window.until_us, window.zone)):
        return Shift(elapsed=timedelta(microseconds=window.until_us - window.since_us))
    if since.day == until.day == 1:
        return Shift(months=(until.year - since.year) * 12 + until.month - since.month)
    return Shift(local=until.date() - since.date())


def _shifted(window: TimeWindow, shift: Shift) -> TimeWindow:
    since, until = (_earlier(us, window.zone, shift) for us in (window.since_us, window.until_us))
    if until <= EARLIEST_US:
        raise ApiError(ErrorCode.INVALID_WINDOW, "There is no window before this one.", field="compare")
    return TimeWindow(max(since, EARLIEST_US), until, window.zone)


def _earlier(us: int, zone: ZoneInfo, shift: Shift) -> int:
    if shift.elapsed:
        return us - shift.elapsed // timedelta(microseconds=1)
    local = utc_time(us).astimezone(zone).replace(tzinfo=None)
    if _is_midnight(us, zone):
        # A day that a clock began at 1 o'clock begins there; the day before it does not.
        local = datetime.combine(local.date(), time(0))
    if local - _FIRST < shift.local + timedelta(days=31 * shift.months):
        return EARLIEST_US
    local -= shift.local
    if shift.months:
        local = _months_back(local, shift.months)
    return microseconds(local.replace(tzinfo=zone))


def _months_back(local: datetime, months: int) -> datetime:
    """The same time of the day of that number; where the month has no such day, its end."""
    first = _first_of_month(local.date(), months)
    following = (first + timedelta(days=31)).replace(day=1)
    day = first + timedelta(days=local.day - 1)
    return datetime.combine(day, local.time()) if day < following else datetime.combine(following, time(0))


def _first_of_month(day: date, back: int) -> date:
    number = day.year * 12 + day.month - 1 - back
    return date(number // 12, number % 12 + 1, 1)


def _begin(day: date, unit: CalendarUnit, sundays: bool) -> date:
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.isoweekday() % 7 if sundays else day.weekday())
    return _first_of_month(day, (day.month - 1) % _MONTHS[unit])


def _back(day: date, unit: CalendarUnit, number: int = 1) -> date:
    """Of a unit's first day."""
    if unit in _MONTHS:
        return _first_of_month(day, number * _MONTHS[unit]) if number * _MONTHS[unit] < 12 * day.year - 12 else date.min
    return day - timedelta(days=number * (7 if unit == "week" else 1))


def _midnight(day: date, zone: ZoneInfo) -> int:
    return microseconds(datetime.combine(day, time(0), zone))


def _is_midnight(us: int, zone: ZoneInfo) -> bool:
    return _midnight(utc_time(us).astimezone(zone).date(), zone) == us


def _hour(now: datetime, zone: ZoneInfo) -> int:
    local = now.astimezone(zone)
    into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return microseconds(now.astimezone(UTC)) - into // timedelta(microseconds=1)


def _window(since_us: int, until_us: int, zone: ZoneInfo) -> TimeWindow:
    return TimeWindow(max(since_us, EARLIEST_US), until_us, zone)
