"""A token bucket a project: how many events a second one project may send through this process."""

import math
import time

from services.contract.api.errors import ApiError, ErrorCode


class RateLimit:
    """`events_s` = 0 lets everything through. A bucket holds two seconds' worth, and one full batch at least."""

    def __init__(self, events_s: int) -> None:
        self._events_s = events_s
        self._capacity = max(2 * events_s, 1000)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, project_id: str, events: int, now_s: float | None = None) -> None:
        """Raises ApiError 429 with the seconds after which so many events will be let through."""
        if not self._events_s:
            return
        now = time.monotonic() if now_s is None else now_s
        tokens, at = self._buckets.get(project_id, (float(self._capacity), now))
        tokens = min(self._capacity, tokens + (now - at) * self._events_s)
        if events > tokens:
            self._buckets[project_id] = (tokens, now)
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                f"This project may send {self._events_s} events/s here. Send again later, with the same keys.",
                retry_after_s=max(1, math.ceil((events - tokens) / self._events_s)),
            )
        self._buckets[project_id] = (tokens - events, now)
