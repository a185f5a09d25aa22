"""Receive times only grow."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from services.edge.intake.receive_clock import ReceiveClock

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(us: int) -> datetime:
    return START + timedelta(microseconds=us)


def test_each_event_is_received_later_than_the_one_before() -> None:
    shown: Iterator[datetime] = iter([at(0), at(3), at(3), at(-5_000_000), at(2_000)])
    clock = ReceiveClock(lambda: next(shown))
    first = clock.now()
    clock.passed(first, 1000)
    second = clock.now()  # the clock shows less than what is taken
    clock.passed(second, 1)
    third = clock.now()
    clock.passed(third, 0)
    fourth = clock.now()  # the clock was set back
    clock.passed(fourth, 1)
    assert [first, second, third, fourth, clock.now()] == [at(0), at(1000), at(1001), at(1001), at(2_000)]
