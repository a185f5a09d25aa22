"""The index of event ids of the window, and which of some ids are duplicates. Pure numpy: no I/O, no clock.

Ids are 128 bits, kept as two unsigned 64-bit columns (16 bytes an id). The window is cut into slices of time, so that
what has left it is dropped a slice at a time; a slice is a few sorted runs, each at least four times the next one, so
that an id is moved only a handful of times and a lookup is a handful of binary searches. Large runs become one bit by
bit, some with each block: all at once, 25 million ids take seconds in which nothing is stored.
"""

from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct

from services.contract.log.topics import Partitioning
from services.worker.dedupe.ids import Ids, Mask, _order_of, partitions_of

_RUN_RATIO = 4
# Put in their places with one `add`: some 20 ms.
_IDS_AT_ONCE = 1_000_000
SLICES_PER_WINDOW = 8


class _Run(Struct, frozen=True):
    """Sorted by the high halves, no id twice."""

    ids: Ids

    def contains(self, ids: Ids) -> Mask:
        """`ids` need no order, but a sorted query is several times faster (memory is walked, not jumped in)."""
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


class _Merge:
    """Two runs on their way to one. They stay as they are, and are asked, until it is done."""

    def __init__(self, large: _Run, small: _Run) -> None:
        self._large, self._small = large.ids, small.ids
        self._taken_large = self._taken_small = 0
        size = len(large.ids) + len(small.ids)
        self._merged = Ids(np.empty(size, np.uint64), np.empty(size, np.uint64))

    @property
    def run(self) -> _Run:
        """The one run, once `advance` has said that it is whole."""
        return _Run(self._merged)

    def advance(self, count: int) -> bool:
        """Put about so many ids in their places; whether all are there now.

        Where each id of the small run goes is looked up: to sort all again takes three times as long.
        """
        large, small, size = self._large, self._small, len(self._merged)
        of_small = slice(self._taken_small, self._taken_small + max(1, count * len(small) // size))
        is_last = of_small.stop >= len(small)
        until = len(large) if is_last else int(np.searchsorted(large.high, small.high[of_small.stop]))
        of_large = slice(self._taken_large, until)
        into = np.searchsorted(large.high[of_large], small.high[of_small])
        into += np.arange(len(into))
        begin = self._taken_large + self._taken_small
        kept = np.ones(until - self._taken_large + len(into), np.bool_)
        kept[into] = False
        for merged, of_large_run, of_small_run in (
            (self._merged.high, large.high, small.high),
            (self._merged.low, large.low, small.low),
        ):
            part = merged[begin : begin + len(kept)]
            part[into] = of_small_run[of_small]
            part[kept] = of_large_run[of_large]
        self._taken_large, self._taken_small = until, self._taken_small + len(into)
        return is_last


class _Slice:
    """The runs of one slice of time, the oldest and largest first, and the two of them that are becoming one."""

    def __init__(self) -> None:
        self.runs: list[_Run] = []
        self._merge: _Merge | None = None
        self._merging_at = 0

    def add(self, run: _Run) -> None:
        self.runs.append(run)
        while (at := self._next_pair()) is not None:
            merge = _Merge(self.runs[at], self.runs[at + 1])
            if len(self.runs[at].ids) + len(self.runs[at + 1].ids) > _IDS_AT_ONCE:
                self._merge, self._merging_at = merge, at
            else:
                merge.advance(_IDS_AT_ONCE)
                self.runs[at : at + 2] = [merge.run]

    def advance(self) -> None:
        """Go on with what is becoming one."""
        if self._merge is not None and self._merge.advance(_IDS_AT_ONCE):
            self.runs[self._merging_at : self._merging_at + 2] = [self._merge.run]
            self._merge = None

    def drop(self, dropped: Callable[[Ids], Mask]) -> None:
        """Forget ids."""
        self._merge = None
        runs = [_Run(run.ids.where(~dropped(run.ids))) for run in self.runs]
        self.runs = [run for run in runs if len(run.ids)]

    def _next_pair(self) -> int | None:
        """Where the last two neighbours stand that should be one and can begin to be now."""
        sizes = [len(run.ids) for run in self.runs]
        first = 0 if self._merge is None else self._merging_at + 2
        for at in range(len(sizes) - 2, first - 1, -1):
            if sizes[at] < _RUN_RATIO * sizes[at + 1]:
                waits = self._merge is not None and sizes[at] + sizes[at + 1] > _IDS_AT_ONCE
                return None if waits else at
        return None


class IdIndex:
    """Which ids are stored already. Ids leave when the whole slice that they came in has left the window."""

    def __init__(self, window_s: int) -> None:
        self.window_s = window_s
        self.slice_s = max(1, -(-window_s // SLICES_PER_WINDOW))
        self._slices: dict[int, _Slice] = {}

    def __len__(self) -> int:
        return sum(len(run.ids) for run in self._runs())

    @property
    def size_bytes(self) -> int:
        return sum(run.ids.high.nbytes + run.ids.low.nbytes for run in self._runs())

    def duplicates(self, ids: Ids) -> Mask:
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
        for slice_ in self._slices.values():
            slice_.advance()
        order = _order_of(ids)
        slice_ = self._slices.setdefault(int(at_s // self.slice_s), _Slice())
        slice_.add(_Run(Ids(ids.high[order], ids.low[order])))

    def expire(self, now_s: float) -> None:
        """Drop the slices that lie before the window."""
        oldest = (now_s - self.window_s) // self.slice_s
        for at in [at for at in self._slices if at < oldest]:
            del self._slices[at]

    def drop_partitions(self, gone: set[int], spread: Partitioning) -> None:
        """Forget the ids of some partitions."""

        def is_gone(ids: Ids) -> Mask:
            return np.isin(partitions_of(ids, spread), list(gone))

        for slice_ in self._slices.values():
            slice_.drop(is_gone)

    def _runs(self) -> Iterator[_Run]:
        for slice_ in self._slices.values():
            yield from slice_.runs
