"""When: `range=last:30d`, `range=all`, or `since` and `until` <-> the window of an API body."""

import math
from datetime import date, datetime
from typing import Any

from services.console.queries.params import Pairs, Params
from services.console.queries.texts import text_of, value_of

DEFAULT_RANGE = "last:30d"
CUSTOM = "custom"
ALL_TIME = "all"
_MANY_DAYS = 400
# What a reader may choose; an address may say any other one that the API takes.
RANGES = {
    "last:24h": "Last 24 hours",
    "last:7d": "Last 7 days",
    "last:30d": "Last 30 days",
    "last:90d": "Last 90 days",
    "last:12months": "Last 12 months",
    "this:day": "Today",
    "this:week": "This week",
    "this:month": "This month",
    "this:quarter": "This quarter",
    "this:year": "This year",
    "previous:day": "Yesterday",
    "previous:week": "Last week",
    "previous:month": "Last month",
    "previous:quarter": "Last quarter",
    "previous:year": "Last year",
    ALL_TIME: "All time",
}
# The API has no word for all time. This is cut to the times that its store has.
_EVER = "9999months"
# What is counted in time buckets takes the longest window that the API answers: a thousand of them; of retention two million
# numbers, with so many lines of a breakdown.
_UNITS = {"hour": "h", "day": "d", "week": "w", "month": "months"}
_MOST_BUCKETS, _MOST_NUMBERS, _TOP = 990, 2_000_000, 10
_WORDS = ("last", "this", "previous")
_TIMES = ("since", "until")
_OTHERS = {"timezone": "tz", "compare": "compare"}
NAMES = ("range", "since", "until", "tz", "whole", "compare")


def read_window(params: Params) -> dict[str, Any]:
    """Without a range, the times count where there are any."""
    word, _, value = params.one("range").partition(":")
    body: dict[str, Any] = {}
    if word in _WORDS:
        body[word] = value
    elif word == ALL_TIME:
        times = value.split(":")
        body |= dict(zip(_TIMES, times, strict=True)) if len(times) == len(_TIMES) else {"last": _EVER}
    else:
        body |= {name: value_of(params.one(name)) for name in _TIMES if params.one(name).strip()}
    body |= {field: params.one(name) for field, name in _OTHERS.items() if params.one(name)}
    if params.one("whole"):
        body["whole_periods"] = params.one("whole") == "1"
    return body


def says_all_time(body: dict[str, Any]) -> bool:
    return body.get("last") is not None and body["last"] in (_EVER, _longest(body))


def _longest(body: dict[str, Any]) -> str:
    lines = 1
    if "born_event" in body and body.get("breakdown"):
        top = body.get("top")
        lines = max(1, top if isinstance(top, int) else _TOP) + 2
    # Of a matrix half is there; one bucket more is the one of now.
    count = min(_MOST_BUCKETS, math.isqrt(2 * _MOST_NUMBERS // lines) - 2)
    unit = _UNITS.get(str(body.get("interval") or "day"), "months")
    return f"{count}{unit}" if lines > 1 or unit != "months" else _EVER


def dated(body: dict[str, Any], days: tuple[str, str] | None) -> dict[str, Any]:
    """All time in the days of the data, from the first to before the last; without data the last days.

    Years in days are more time buckets than the API answers: longer ones, unless the query says which.
    """
    found = {name: value for name, value in body.items() if name != "last"}
    if days is None:
        return found | {"last": DEFAULT_RANGE.partition(":")[2]}
    found |= dict(zip(_TIMES, days, strict=True))
    since, until = map(date.fromisoformat, days)
    count = (until - since).days
    if count > _MANY_DAYS and not body.get("interval"):
        found["interval"] = "week" if count <= _MANY_DAYS * 7 else "month"
    return found


def lasting(body: dict[str, Any], interval: str | None) -> dict[str, Any]:
    """To be kept: all time as the longest window of these time buckets that the API answers. It goes on with the days."""
    if not says_all_time(body):
        return body
    kept = body | ({"interval": interval} if interval else {})
    return kept | {"last": _longest(kept)}


def all_as_dated(pairs: Pairs) -> Pairs:
    """`range=all:2024-01-04:2024-06-30`: all time as it was when a number was counted, so that the people are those of it."""
    times = dict(pairs)
    kept = [pair for pair in pairs if pair[0] not in ("range", *_TIMES)]
    return [*kept, ("range", ":".join((ALL_TIME, *(times.get(name, "") for name in _TIMES))))]


def as_answered(pairs: Pairs, span: tuple[datetime, datetime]) -> Pairs:
    """A window in words with the times that it had when a number was counted: after midnight the words mean others."""
    if not _is_in_words(pairs):
        return pairs
    texts = (time.isoformat().replace("+00:00", "Z") for time in span)
    return [*_without_times(pairs), *zip(_TIMES, texts, strict=True)]


def as_counted(pairs: Pairs) -> Pairs:
    """Those times in the place of the words."""
    if not _is_in_words(pairs) or not set(_TIMES) <= {name for name, _ in pairs}:
        return pairs
    return [pair for pair in pairs if pair[0] not in ("range", "whole")]


def said_again(pairs: Pairs) -> Pairs:
    """Words and all time, as they were said before a number was counted."""
    kept = _without_times(pairs) if _is_in_words(pairs) else pairs
    return [(name, ALL_TIME if name == "range" and value.startswith(f"{ALL_TIME}:") else value) for name, value in kept]


def _is_in_words(pairs: Pairs) -> bool:
    return any(name == "range" and value.partition(":")[0] in _WORDS for name, value in pairs)


def _without_times(pairs: Pairs) -> Pairs:
    return [pair for pair in pairs if pair[0] not in _TIMES]


def write_window(body: dict[str, Any]) -> Pairs:
    word = next((word for word in _WORDS if body.get(word) is not None), None)
    if says_all_time(body):
        pairs = [("range", ALL_TIME)]
    elif word is not None:
        pairs = [("range", f"{word}:{body[word]}")]
    else:
        times = [(name, text_of(body[name])) for name in _TIMES if body.get(name) is not None]
        pairs = [("range", CUSTOM), *times] if times else []
    pairs += [(name, str(body[field])) for field, name in _OTHERS.items() if body.get(field) is not None]
    if body.get("whole_periods") is not None:
        pairs.append(("whole", "1" if body["whole_periods"] else "0"))
    return pairs


def said_range(body: dict[str, Any]) -> str:
    """For a heading: `Last 30 days`, `2026-03-01 to 2026-04-01`."""
    pairs = dict(write_window(body))
    if pairs.get("range") == CUSTOM:
        return f"{pairs.get('since', '…')} to {pairs.get('until', '…')}"
    word = pairs.get("range", "")
    return RANGES.get(word, word.replace(":", " "))
