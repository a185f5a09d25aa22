"""Results that are kept while the data that they were made of are the same; bounded by bytes, the longest unused go first."""

from collections import OrderedDict

from prometheus_client import Counter, Gauge

KEPT_BYTES = Gauge("headrace_query_kept_results_bytes", "Results that are kept in memory.")
LOOKED_UP = Counter(
    "headrace_query_kept_results_total", "Results that were looked up, by whether one was there.", ["found"]
)
_ENTRY_BYTES = 300  # of what a result is kept with
# None of them takes the place of all others.
_LARGEST = 4


class KeptResults:
    """Belongs to one event loop. A key has the result of one state of the data: the latest one that was asked for."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()
        self.held_bytes = 0

    def get(self, key: bytes, fingerprint: bytes) -> bytes | None:
        """One of another state goes: what it is made of may have been deleted."""
        found = self._kept.get(key)
        if found is not None and found[0] != fingerprint:
            self._drop(key)
            found = None
        LOOKED_UP.labels("no" if found is None else "yes").inc()
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: bytes, fingerprint: bytes, result: bytes) -> None:
        if key in self._kept:
            self._drop(key)
        size = len(result) + _ENTRY_BYTES
        if size > self._max_bytes // _LARGEST:
            return
        while self.held_bytes + size > self._max_bytes:
            self._drop(next(iter(self._kept)))
        self._kept[key] = fingerprint, result
        self._hold(size)

    def _drop(self, key: bytes) -> None:
        _, result = self._kept.pop(key)
        self._hold(-len(result) - _ENTRY_BYTES)

    def _hold(self, size: int) -> None:
        self.held_bytes += size
        KEPT_BYTES.set(self.held_bytes)
