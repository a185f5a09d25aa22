"""Which ids are stored already, by an index in memory: filled from ClickHouse, the only truth, for the partitions that
this worker has been given."""

import math
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from prometheus_client import Gauge, Histogram

from services.contract.log.topics import PARTITION_SQL, Partitioning
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.logs import get_logger
from services.worker.dedupe.id_index import IdIndex
from services.worker.dedupe.ids import Ids, Mask, without_repeats
from services.worker.dedupe.port import Membership
from services.worker.dedupe.stored import count_ids, read_ids
from services.worker.dedupe.window import CLOCK_SKEW_S

log = get_logger(__name__)
INDEX_IDS = Gauge("headrace_worker_index_ids", "Event ids of the window held in memory.")
INDEX_BYTES = Gauge("headrace_worker_index_bytes", "Memory of the event ids.")
INDEX_FILL = Gauge(
    "headrace_worker_index_fill_ratio", "Event ids held in memory, as a part of those that there is room for."
)
LOAD_SECONDS = Histogram(
    "headrace_worker_index_load_seconds",
    "Time to read the ids of newly assigned partitions from ClickHouse.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
)
# What an id costs in all: 16 bytes, and what merging runs needs for a moment.
BYTES_PER_ID = 22
_WARN_FROM = 0.8
# As a time: later than any that is stored.
_FOR_EVER_S = 4_000_000_000


# Of the events that are stored, and of those of deleted people, whose keys stay taken.
_SINCE = (
    f"WHERE {PARTITION_SQL} IN {{wanted:Array(UInt16)}} AND received_at >= fromUnixTimestamp64Milli({{since:Int64}})"
)
_UNTIL = "AND received_at < fromUnixTimestamp64Milli({until:Int64})"


class WindowTooLargeError(Exception):
    """The ids of the window do not fit into the memory that they may have; the message says what can be done."""


class IncompleteReadError(StoreError):
    """ClickHouse gave fewer ids than it has. Nothing of them is used; it is asked again."""


class MemoryDedupe:
    """The index, and which partitions' ids are in it. `max_bytes` is what the ids may take."""

    def __init__(self, store: ClickHouse, window_s: int, spread: Partitioning, max_bytes: int = 2**63) -> None:
        self._store = store
        self._spread = spread
        self._max_ids = max_bytes // BYTES_PER_ID
        self._warned_at = 0
        # From when on the ids of a partition are in the index, and the time of what was last looked up for it.
        self._loaded: dict[int, float] = {}
        self._suspended: dict[int, float] = {}
        self._reached: dict[int, float] = {}
        self._membership = Membership("", -1)
        self._rebalances = 0
        self.index = IdIndex(window_s)
        INDEX_IDS.set_function(lambda: len(self.index))
        INDEX_BYTES.set_function(lambda: self.index.size_bytes)
        INDEX_FILL.set_function(lambda: len(self.index) / self._max_ids)

    def revoked(self, partitions: set[int]) -> None:
        """These partitions were taken away. Their ids are kept until `assigned` says whether they are good still."""
        self._rebalances += 1
        self._suspended |= {partition: since for partition, since in self._loaded.items() if partition in partitions}
        self._loaded = {partition: since for partition, since in self._loaded.items() if partition not in partitions}

    def assigned(self, partitions: set[int], membership: Membership) -> None:
        """These partitions are ours.

        A partition that was ours in the generation before, and we the same member, has had no other owner meanwhile:
        its ids are all known. Of any other, somebody else may have stored ids; they are read again.
        """
        self._rebalances += 1
        stay = partitions if membership.follows(self._membership) else set()
        kept = {partition: since for partition, since in self._suspended.items() if partition in stay}
        # Also what a block that was under way has loaded since the partition went.
        self._forget((self._suspended.keys() | self._loaded.keys()) - kept.keys())
        self._loaded = kept
        self._suspended = {}
        self._membership = membership

    def changed(self, partition: int) -> None:
        """Read its ids again before the next look-up."""
        self._forget({partition} & (self._loaded.keys() | self._suspended.keys()))
        self._loaded.pop(partition, None)
        self._suspended.pop(partition, None)

    def _forget(self, partitions: AbstractSet[int]) -> None:
        if partitions:
            self.index.drop_partitions(set(partitions), self._spread)
            self._reached = {p: at for p, at in self._reached.items() if p not in partitions}

    async def load(self, oldest_s: Mapping[int, float]) -> None:
        """Make sure that all stored ids of these partitions are in the index, from the window on of the oldest record
        that is to be looked up. Raises StoreError.

        What was read while partitions moved is read again: it may miss what the owner in between has stored.
        """
        window_s = self.index.window_s
        self._reached.update(oldest_s)
        # The window of the partition that is farthest behind: a backlog must not lose its ids to those who have none.
        self.index.expire(min(self._reached.values()) - CLOCK_SKEW_S)
        while missing := {p for p, at in oldest_s.items() if self._loaded.get(p, math.inf) > at - window_s}:
            # Also those whose reading goes on farther back than it was: they have a part of their ids.
            self._forget(missing & self._loaded.keys())
            self._reached.update(oldest_s)
            rebalances = self._rebalances
            since_s = min(oldest_s[partition] for partition in missing) - window_s - CLOCK_SKEW_S
            with LOAD_SECONDS.time():
                loaded = await self._read_window(missing, since_s)
            if rebalances != self._rebalances:
                continue
            for at_s, ids in loaded:
                self.index.add(ids, at_s)
            self._loaded |= dict.fromkeys(missing, since_s)
            log.info("ids_loaded", partitions=sorted(missing), ids=sum(len(ids) for _, ids in loaded))

    async def duplicates(self, ids: Ids) -> Mask:
        """True for each id that is stored, or that stands earlier in `ids`. The partitions must be loaded."""
        return self.index.duplicates(ids)

    def remember(self, ids: Ids) -> None:
        """These ids are stored now. Raises WindowTooLargeError when there is no room for more."""
        self.index.add(ids, time.time())
        self._check_room(0)

    def _check_room(self, more: int) -> None:
        """Say it before memory ends: a worker that the system kills says nothing."""
        ids = len(self.index) + more
        if ids > self._max_ids:
            raise WindowTooLargeError(
                f"the ids of the window are {ids:,}, but only {self._max_ids:,} fit into the memory they may have "
                f"({self._max_ids * BYTES_PER_ID:,} bytes). Start more workers, give them more memory "
                "(HEADRACE_WORKER_INDEX_MAX_BYTES), shorten HEADRACE_WORKER_DEDUPE_WINDOW_HOURS, or set "
                "HEADRACE_WORKER_DEDUPE=clickhouse (slower)"
            )
        if ids > max(_WARN_FROM * self._max_ids, 1.05 * self._warned_at):
            self._warned_at = ids
            log.warning("index_nearly_full", ids=ids, room_for=self._max_ids)

    async def _read_window(self, partitions: set[int], since_s: float) -> list[tuple[float, Ids]]:
        """The ids of each slice since then, with the slice's time. Raises WindowTooLargeError, and
        IncompleteReadError when fewer came than are there."""
        count = await self._count(partitions, since_s)
        self._check_room(count)
        slice_s = self.index.slice_s
        first, last = int(since_s // slice_s), int(time.time() // slice_s)
        # The last one is open: an edge's clock may be ahead.
        bounds = [(at * slice_s, (at + 1) * slice_s) for at in range(first, last)] + [(last * slice_s, _FOR_EVER_S)]
        slices = [(float(begin), await self._read(partitions, begin, end)) for begin, end in bounds]
        read = sum(len(ids) for _, ids in slices)
        # Rows may become fewer meanwhile, where equal ones collapse. Of a cluster each id comes once, from a majority.
        if not self._store.cluster and read < count and read < (now := await self._count(partitions, since_s)):
            raise IncompleteReadError(f"ClickHouse gave {read:,} ids of {min(count, now):,}")
        return [(at_s, without_repeats(ids)) for at_s, ids in slices]

    async def _count(self, partitions: set[int], since_s: float) -> int:
        return await count_ids(self._store, _SINCE, {**self._wanted(partitions), "since": int(since_s * 1000)})

    async def _read(self, partitions: set[int], since_s: int, until_s: int) -> Ids:
        bounds = {"since": since_s * 1000, "until": until_s * 1000}
        return await read_ids(self._store, f"{_SINCE} {_UNTIL}", {**self._wanted(partitions), **bounds})

    def _wanted(self, partitions: set[int]) -> dict[str, object]:
        spread = self._spread
        return {"partitions": spread.partitions, "buckets": spread.buckets, "wanted": sorted(partitions)}
