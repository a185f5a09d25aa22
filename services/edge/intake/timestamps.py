"""Timestamps as producers send them -> UTC, within what the store takes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeGuard, cast

import msgspec

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.timestamps import MILLISECONDS_FROM, iso_time

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(hours=1)
_FORMS = "Use ISO 8601 (2026-11-20T12:34:56Z) or Unix epoch in seconds or milliseconds."


def parse_time(text: bytes) -> datetime | int | float | None:
    """A JSON value -> what `resolve_time` takes. Empty text is absent. Raises ApiError."""
    if not text:
        return None
    if b"\\u0000" in text:  # the decoder takes it for the end of a date
        raise _invalid("it is not a date and time")
    try:
        return msgspec.json.decode(text, type=datetime | int | float | None)
    except (msgspec.DecodeError, OverflowError) as error:
        if not text.startswith(b'"'):
            raise _invalid("expected a string or a number") from error
    try:
        return iso_time(msgspec.json.decode(text, type=str).strip())
    except ValueError as error:
        raise _invalid("it is not a date and time") from error


def are_plain(values: Sequence[datetime | int | float | None], now: datetime) -> TypeGuard[list[datetime]]:
    """Whether `resolve_time` would take every value as it is: in UTC, and within what is taken."""
    try:
        times = cast(Sequence[datetime], values)
        return {time.tzinfo for time in times} == {UTC} and min(times) >= EARLIEST and max(times) <= now + MAX_AHEAD
    except (AttributeError, ValueError):  # a number or an absent time; no times at all
        return False


def resolve_time(value: datetime | int | float | None, now: datetime) -> tuple[datetime, str]:
    """(event time in UTC, the time as sent where it was too far ahead to be believed, else "").

    Absent: `now`. More than an hour ahead: `now`, and the original beside it. Before 2000: ApiError.
    """
    if value is None:
        return now, ""
    time = _utc(value)
    if time < EARLIEST:
        raise _invalid("it is before 2000-01-01")
    if time > now + MAX_AHEAD:
        return now, time.isoformat().replace("+00:00", "Z")
    return time, ""


def _utc(value: datetime | int | float) -> datetime:
    try:
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return datetime.fromtimestamp(value / 1000 if abs(value) >= MILLISECONDS_FROM else value, UTC)
    except (OverflowError, ValueError, OSError) as error:
        if isinstance(value, datetime) and value.year > EARLIEST.year:
            return value.replace(tzinfo=UTC)  # the last hours of 9999: ahead of any clock in every zone
        raise _invalid("there is no such time") from error


def _invalid(reason: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_TIMESTAMP, f"`timestamp`: {reason}. {_FORMS}", field="timestamp")
