"""When: `range=last:30d`, or `since` and `until` <-> the window of an API body."""

from datetime import date
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
    else:
        body |= {name: value_of(params.one(name)) for name in _TIMES if params.one(name).strip()}
    body |= {field: params.one(name) for field, name in _OTHERS.items() if params.one(name)}
    if params.one("whole"):
        body["whole_periods"] = params.one("whole") == "1"
    return body


def says_all_time(pairs: Pairs) -> bool:
    return any(_is_all_time(pair) for pair in pairs)


def _is_all_time(pair: tuple[str, str]) -> bool:
    """Also of a rule about people."""
    return pair[1] == ALL_TIME and (pair[0] == "range" or pair[0].endswith(".range"))


def dated(pairs: Pairs, days: tuple[str, str] | None) -> Pairs:
    """With `days`, from the first to before the last, for all time; without data the last days."""
    prefixes = [name.removesuffix("range") for name, _ in filter(_is_all_time, pairs)]
    replaced = {f"{prefix}{name}" for prefix in prefixes for name in ("range", *_TIMES)}
    found = [pair for pair in pairs if pair[0] not in replaced]
    for prefix in prefixes:
        found += _when(prefix, days)
    return found if days is None or "" not in prefixes else _with_buckets(found, *map(date.fromisoformat, days))


def _with_buckets(pairs: Pairs, since: date, until: date) -> Pairs:
    """Years in days are more than the API answers: longer time buckets, unless the query says which."""
    if (until - since).days <= _MANY_DAYS or any(name == "interval" and value.strip() for name, value in pairs):
        return pairs
    interval = "week" if (until - since).days <= _MANY_DAYS * 7 else "month"
    return [*(pair for pair in pairs if pair[0] != "interval"), ("interval", interval)]


def _when(prefix: str, days: tuple[str, str] | None) -> Pairs:
    if days is None:
        return [(f"{prefix}range", DEFAULT_RANGE)]
    since, until = days
    return [(f"{prefix}range", CUSTOM), (f"{prefix}since", since), (f"{prefix}until", until)]


def write_window(body: dict[str, Any]) -> Pairs:
    word = next((word for word in _WORDS if body.get(word) is not None), None)
    if word is not None:
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
