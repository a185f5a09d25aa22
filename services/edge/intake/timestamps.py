"""Timestamps as producers send them -> UTC, within what the store takes. Their text is read here, not by the decoder,
which would round what must be cut."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Raw

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.timestamps import FORMS, epoch_us, iso_time
from services.edge.intake.json_checks import BACKSLASH

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# `"2026-11-20T12:34:56.1234567Z"`: where the T is, the point, and the first digit that is finer than a microsecond.
_T_AT, _POINT_AT, _FINER_AT = 11, 20, 27
_QUOTE, _POINT = b'".'
_DIGITS = b"0123456789"
_SHORTEST, _LONGEST = 23, 30  # `"2026-11-20T12:34:56Z",` and the same with microseconds

_decode = msgspec.json.Decoder(datetime).decode
_decode_list = msgspec.json.Decoder(list[datetime]).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_plain_times(values: Sequence[Raw], now: datetime) -> list[datetime] | None:
    """All times at once, where all are written alike, in UTC, no finer than microseconds, and `resolve_time` would take
    each as it is. None where only a closer look can tell."""
    joined = b",".join(values) + b","
    width, rest = divmod(len(joined), len(values))
    if rest or not _SHORTEST <= width <= _LONGEST:
        return None
    # The decoder sees to the rest: of this width and with a Z, a time has at most six digits behind its point.
    for at, char in ((width - 1, b","), (width - 3, b"Z"), (_T_AT, b"T")):
        if joined[at::width] != char * len(values):
            return None
    try:
        times = _decode_list(b"[" + joined[:-1] + b"]")
    except msgspec.DecodeError:
        return None
    return times if min(times) >= EARLIEST and max(times) <= now + MAX_AHEAD else None


def read_time(value: Raw) -> datetime | None:
    """A JSON value -> UTC. Absent and null are None. Raises ApiError."""
    text = bytes(value)
    if text in (b"", b"null"):
        return None
    if text[0] != _QUOTE:
        return _of_number(text)
    cut = text
    if len(text) > _FINER_AT and text[_POINT_AT] == _POINT and text[_FINER_AT] in _DIGITS:
        cut = text[:_FINER_AT] + text[_FINER_AT:].lstrip(_DIGITS)
    try:
        if BACKSLASH not in text:  # the decoder takes NUL for the end of a date
            return _utc(_decode(cut))
    except msgspec.DecodeError:
        pass
    try:
        return _utc(iso_time(_decode_text(text)))
    except (msgspec.DecodeError, ValueError) as error:
        raise _invalid("it is not a date and time") from error


def resolve_time(time: datetime | None, now: datetime) -> tuple[datetime, str]:
    """(event time in UTC, the time as sent where it was too far ahead to be believed, else "").

    Absent: `now`. More than an hour ahead: `now`, and the original beside it. Before 2000: ApiError.
    """
    if time is None:
        return now, ""
    if time < EARLIEST:
        raise _invalid("it is before 2000-01-01")
    if time > now + MAX_AHEAD:
        return now, time.isoformat().replace("+00:00", "Z")
    return time, ""


def _of_number(text: bytes) -> datetime:
    try:
        us = epoch_us(text.decode())
    except ValueError as error:
        raise _invalid("expected a string or a number") from error
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError as error:
        raise _invalid("there is no such time") from error


def _utc(time: datetime) -> datetime:
    if time.tzinfo is UTC:
        return time
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        if time.year > EARLIEST.year:
            return time.replace(tzinfo=UTC)  # the last hours of 9999: ahead of any clock in every zone
        raise _invalid("there is no such time") from error


def _invalid(reason: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_TIMESTAMP, f"`timestamp`: {reason}. Use {FORMS}.", field="timestamp")
