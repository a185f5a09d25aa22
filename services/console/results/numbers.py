"""How numbers, times and names look."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET

from services.console.frame import show
from services.console.frame.show import number

THIN = "\u202f"
NOTHING = show.share(None)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def share(part: float | None, whole: float | None = 1) -> str:
    """`43.2 %`; a part that is not quite nothing, or not quite all, never looks as if it were."""
    if part is None or not whole:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return f"<0.1{THIN}%"
    if 99.9 < percent < 100:
        return f">99.9{THIN}%"
    return show.share(part / whole)


def change(now: float | None, before: float | None) -> str:
    """`+12.5 %` of the number before."""
    if now is None or not before:
        return NOTHING
    percent = 100 * (now - before) / abs(before)
    return f"{percent:+.1f}{THIN}%".replace("-", "−") if abs(percent) >= 0.05 else f"0{THIN}%"


def duration(seconds: float | None) -> str:
    """In the unit that says it best: `42 s`, `1 min 30 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{number(round(seconds, 1))}{THIN}s"
    whole = round(seconds)
    for size, name, small, small_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{number(whole // size)}{THIN}{name}" + (f" {rest}{THIN}{small_name}" if rest else "")
    return f"{whole}{THIN}s"


def zone_of(name: str | None) -> ZoneInfo:
    """UTC where the name is none; what is wrong with it the API has said."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def period(start: datetime, interval: str, zone: ZoneInfo) -> str:
    """`Sun 1 Mar 2026`: of hours with the time, of months without a day."""
    local = start.astimezone(zone)
    day = f"{local.day} {local:%b %Y}"
    if interval == "month":
        return f"{local:%b %Y}"
    if interval == "hour":
        return f"{day} {local:%H:%M}"
    return f"{local:%a} {day}" if interval == "day" else day


def line_names(lines: Sequence[Any]) -> list[str]:
    """Of the lines of a breakdown. A text is shown as it is, and between quotation marks where another line looks the same:
    the text `1` beside the number."""
    values = [None if line.value is UNSET else msgspec.json.decode(bytes(line.value)) for line in lines]
    names = [_line_name(line.kind, value) for line, value in zip(lines, values, strict=True)]
    times = Counter(names)
    return [
        msgspec.json.encode(value).decode() if times[name] > 1 and isinstance(value, str) else name
        for name, value in zip(names, values, strict=True)
    ]


def _line_name(kind: str, value: Any) -> str:
    return shown(value) if kind == "value" else {"missing": "(not set)", "other": "(others)"}.get(kind, "")


def shown(value: Any) -> str:
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
