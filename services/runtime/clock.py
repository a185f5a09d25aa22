"""The wall clock, as a value that tests can replace; and moments as the tables count them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def utc_time(us: int) -> datetime:
    """Of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)
