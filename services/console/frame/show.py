"""How values are written: numbers, shares, times, JSON. Jinja2 has these as filters."""

import shlex
from datetime import UTC, datetime
from typing import Any

import msgspec

_THIN = "\u202f"  # a narrow blank that does not break
_MAX_BRIEF_CHARS = 160
_FOUR_DIGITS = 9999.5  # four digits of it are 1e+04
_LONG = 1e21  # of a double nobody needs so many


def number(value: float | int | None) -> str:
    """`31 106`, `0.25`, `–` where there is none."""
    if value is None:
        return "–"
    if isinstance(value, float) and (abs(value) >= _LONG or not value.is_integer()):
        is_short = abs(value) < _FOUR_DIGITS or abs(value) >= _LONG
        return (f"{value:,.4g}" if is_short else f"{value:,.0f}").replace(",", _THIN)
    return f"{int(value):,}".replace(",", _THIN)


def share(value: float | None) -> str:
    """A part of 1 as `12.5 %`."""
    if value is None:
        return "–"
    percent = value * 100
    return f"{percent:.0f}{_THIN}%" if percent in (0, 100) else f"{percent:.1f}{_THIN}%"


def moment(value: datetime | None) -> str:
    """In UTC, to the second; the script of the page writes it in the browser's time zone."""
    return "never" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def machine_moment(value: datetime | str) -> str:
    """For `datetime` attributes and for the API, to the microsecond."""
    return value if isinstance(value, str) else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def raw_text(value: msgspec.Raw | bytes) -> str:
    return bytes(value).decode("utf-8", "replace")


def value_text(value: msgspec.Raw | bytes) -> str:
    """A JSON value as a person reads it: a text without its quotes."""
    text = raw_text(value)
    if text.startswith('"'):
        decoded: str = msgspec.json.decode(text)
        return decoded
    return text


def brief(text: str) -> str:
    return text if len(text) <= _MAX_BRIEF_CHARS else text[: _MAX_BRIEF_CHARS - 1] + "…"


def pretty(value: Any) -> str:
    """JSON over several lines."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


FILTERS = {
    "number": number,
    "share": share,
    "moment": moment,
    "machine_moment": machine_moment,
    "raw_text": raw_text,
    "value_text": value_text,
    "brief": brief,
    "pretty": pretty,
    "shell": shlex.quote,
}
