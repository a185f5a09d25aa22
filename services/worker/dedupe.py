"""The index of event ids of the window, and which of some ids are repeats. Pure numpy: no I/O, no clock.

Ids are 128 bits, kept as two unsigned 64-bit columns (16 bytes an id). The window is cut into slices of time, so that
what has left it is dropped a slice at a time; a slice is a few sorted runs, each at least four times the next one, so
that an id is moved only a handful of times and a lookup is a handful of binary searches.
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_RUN_RATIO = 4
SLICES_PER_WINDOW = 8


class Ids(Struct, frozen=True):
    """Ids as two columns of equal length: `high` holds the first 8 bytes of each, big-endian, `low` the last 8."""

    high: U64
    low: U64

    def __len__(self) -> int:
        return len(self.high)

    def where(self, mask: Mask) -> "Ids":
        return Ids(self.high[mask], self.low[mask])


def ids_from_bytes(packed: bytes) -> Ids:
    """`packed`: 16 bytes an id, as in the envelope's header."""
    columns = np.frombuffer(packed, dtype=">u8").reshape(-1, 2)
    return Ids(columns[:, 0].astype(np.uint64), columns[:, 1].astype(np.uint64))


class _Run(Struct, frozen=True):
    """Sorted by (high, low), no id twice."""

    ids: Ids

    def contains(self, ids: Ids) -> Mask:
        """`ids` need no order, but a sorted question is several times faster (memory is walked, not jumped in)."""
        high, low = self.ids.high, self.ids.low
        at = np.searchsorted(high, ids.high)
        at[at == len(high)] = 0
        same_high: Mask = high[at] == ids.high
        found: Mask = same_high & (low[at] == ids.low)
        # The first of several ids that share their high half was not it: look at the others. Practically never.
        for i in np.flatnonzero(same_high & ~found):
            j = int(at[i])
            while j < len(high) and high[j] == ids.high[i] and not found[i]:
                found[i] = low[j] == ids.low[i]
                j += 1
        return found


class IdIndex:
    """Which ids are stored already. Ids leave when the whole slice that they came in has left the window."""

    def __init__(self, window_s: int) -> None:
        self.window_s = window_s
        self.slice_s = max(1, -(-window_s // SLICES_PER_WINDOW))
        self._slices: dict[int, list[_Run]] = {}

    def __len__(self) -> int:
        return sum(len(run.ids) for run in self._runs())

    @property
    def size_bytes(self) -> int:
        return sum(run.ids.high.nbytes + run.ids.low.nbytes for run in self._runs())

    def repeats(self, ids: Ids) -> Mask:
        """True for each id that is in the index, or that stands earlier in `ids` already."""
        order = _order_of(ids)
        asked = Ids(ids.high[order], ids.low[order])
        known = np.zeros(len(ids), dtype=np.bool_)
        known[1:] = (asked.high[1:] == asked.high[:-1]) & (asked.low[1:] == asked.low[:-1])
        for run in self._runs():
            known |= run.contains(asked)
        answer = np.empty_like(known)
        answer[order] = known
        return answer

    def add(self, ids: Ids, at_s: float) -> None:
        """Add ids of the moment `at_s` (Unix seconds). They must not be in the index, nor twice in `ids`."""
        if len(ids) == 0:
            return
        order = _order_of(ids)
        runs = self._slices.setdefault(int(at_s // self.slice_s), [])
        runs.append(_Run(Ids(ids.high[order], ids.low[order])))
        while len(runs) > 1 and len(runs[-2].ids) < _RUN_RATIO * len(runs[-1].ids):
            runs.append(_merged(runs.pop(), runs.pop()))

    def expire(self, now_s: float) -> None:
        """Drop the slices that lie before the window."""
        oldest = (now_s - self.window_s) // self.slice_s
        for at in [at for at in self._slices if at < oldest]:
            del self._slices[at]

    def drop_partitions(self, gone: set[int], partitions: int) -> None:
        """Forget the ids of some of `partitions` partitions (contract/topics.py says which id is whose)."""
        for runs in self._slices.values():
            for i, run in enumerate(runs):
                of = (run.ids.high >> np.uint64(48)) % np.uint64(partitions)
                runs[i] = _Run(run.ids.where(~np.isin(of, list(gone))))
            runs[:] = [run for run in runs if len(run.ids)]

    def _runs(self) -> Iterator[_Run]:
        for runs in self._slices.values():
            yield from runs


def _order_of(ids: Ids) -> NDArray[np.intp]:
    """What sorts them by (high, low), equal ids as they stand. Practically no two ids share their high half, and then
    one column is sorted, in a fifth of the time of two."""
    order = np.argsort(ids.high)
    high = ids.high[order]
    return np.lexsort((ids.low, ids.high)) if bool((high[1:] == high[:-1]).any()) else order


def _merged(a: _Run, b: _Run) -> _Run:
    high = np.concatenate((a.ids.high, b.ids.high))
    low = np.concatenate((a.ids.low, b.ids.low))
    order = np.argsort(high, kind="stable")  # two sorted runs: a merge, not a sort
    high, low = high[order], low[order]
    if bool((high[1:] == high[:-1]).any()):
        order = np.lexsort((low, high))
        high, low = high[order], low[order]
    return _Run(Ids(high, low))
