"""Token buckets of a project: how many requests, bytes and events a second it may send through this process.

Requests and bytes are charged before a body is looked into, whatever becomes of it; events once they are known.
"""

import math
import time

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_BATCH_EVENTS, MAX_BODY_BYTES


class RateLimit:
    """A second and project; 0 is no limit. A bucket holds two seconds' worth, and at least one request of the largest size.

    Bytes count as they come, and once more what they inflate to beyond that.
    """

    def __init__(self, events_s: int, requests_s: int = 0, bytes_s: int = 0) -> None:
        self._events = _Buckets(events_s, max(2 * events_s, MAX_BATCH_EVENTS), "events")
        self._requests = _Buckets(requests_s, max(2 * requests_s, 1), "requests")
        self._bytes = _Buckets(bytes_s, max(2 * bytes_s, MAX_BODY_BYTES), "bytes")

    def take_request(self, project_id: str, now_s: float | None = None) -> None:
        """Raises ApiError 429, also while bytes that came before are not paid for."""
        if self._requests.rate_s:
            self._requests.take(project_id, 1, now_s)
        if self._bytes.rate_s:
            self._bytes.take(project_id, 0, now_s)

    def charge_bytes(self, project_id: str, size: int, now_s: float | None = None) -> None:
        """They are here already, so nothing is refused: the next requests wait until they are paid for."""
        if self._bytes.rate_s:
            self._bytes.charge(project_id, size, now_s)

    def take(self, project_id: str, events: int, now_s: float | None = None) -> None:
        """Raises ApiError 429 with the seconds after which so many events will be let through."""
        if self._events.rate_s:
            self._events.take(project_id, events, now_s)

    def take_many(self, project_id: str, events: int, now_s: float | None = None) -> None:
        """As `take`, of batches that may hold more than the bucket: what is beyond a native batch is owed."""
        if self._events.rate_s:
            self._events.take(project_id, min(events, MAX_BATCH_EVENTS), now_s)
            self._events.charge(project_id, max(0, events - MAX_BATCH_EVENTS), now_s)


class _Buckets:
    """A bucket for each project. `unit` is what they hold."""

    def __init__(self, rate_s: int, capacity: int, unit: str) -> None:
        self.rate_s = rate_s
        self._capacity = capacity
        self._unit = unit
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, project_id: str, amount: int, now_s: float | None) -> None:
        """Raises ApiError, and takes nothing then."""
        tokens, now = self._tokens(project_id, now_s)
        if amount > tokens:
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                f"This project may send {self.rate_s} {self._unit}/s here. Send again later, with the same keys.",
                retry_after_s=max(1, math.ceil((amount - tokens) / self.rate_s)),
            )
        self._buckets[project_id] = (tokens - amount, now)

    def charge(self, project_id: str, amount: int, now_s: float | None) -> None:
        """Takes it even where there is not so much; what is owed comes first."""
        tokens, now = self._tokens(project_id, now_s)
        self._buckets[project_id] = (tokens - amount, now)

    def _tokens(self, project_id: str, now_s: float | None) -> tuple[float, float]:
        now = time.monotonic() if now_s is None else now_s
        tokens, at = self._buckets.get(project_id, (float(self._capacity), now))
        return min(self._capacity, tokens + (now - at) * self.rate_s), now
