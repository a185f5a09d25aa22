"""When requests are due: at a rate of events, whatever has become of the requests before."""


class Pace:
    """`take` gives the moment at which a request of so many events is due, or None when the time is over."""

    def __init__(self, rate: float, starts_at: float, seconds: float) -> None:
        self._rate = rate
        self._starts_at = starts_at
        self._seconds = seconds
        self._taken = 0.0

    def take(self, events: int) -> float | None:
        after_s = self._taken / self._rate if self._rate else self._seconds
        if after_s >= self._seconds:
            return None
        self._taken += events
        return self._starts_at + after_s


class Numbers:
    """Gives out the numbers of events, each once."""

    def __init__(self) -> None:
        self.given = 0

    def take(self, events: int) -> int:
        first = self.given
        self.given += events
        return first
