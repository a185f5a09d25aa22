"""Receive times: within this process each event's is later than that of the event before, so that they tell the order."""

from datetime import UTC, datetime, timedelta

from services.runtime.clock import Clock

_STEP = timedelta(microseconds=1)


class ReceiveClock:
    """As the clock shows, or ahead of it where events come faster than one a microsecond, or the clock is set back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """When the next event is received."""
        now = self._clock()
        return now if now > self._next else self._next

    def passed(self, first: datetime, events: int) -> None:
        """So many events were received, the first at that time and each a microsecond after the one before."""
        after = first + (_STEP if events == 1 else events * _STEP)
        if after > self._next:
            self._next = after
