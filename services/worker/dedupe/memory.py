"""Which ids are stored already, by an index in memory: filled from ClickHouse, the only truth, for the partitions that
this worker has been given."""

import time

from prometheus_client import Gauge, Histogram

from services.contract.log.topics import PARTITION_SQL
from services.contract.tables import EVENTS
from services.runtime.clickhouse import ClickHouse
from services.runtime.logs import get_logger
from services.worker.dedupe.id_index import IdIndex
from services.worker.dedupe.ids import Ids, Mask, ids_from_rows
from services.worker.dedupe.port import Membership
from services.worker.dedupe.window import window_start

log = get_logger(__name__)
INDEX_IDS = Gauge("headrace_worker_index_ids", "Event ids of the window held in memory.")
INDEX_BYTES = Gauge("headrace_worker_index_bytes", "Memory of the event ids.")
LOAD_SECONDS = Histogram(
    "headrace_worker_index_load_seconds",
    "Time to read the ids of newly assigned partitions from ClickHouse.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
)
# What an id costs in all: 16 bytes, and what merging runs needs for a moment.
BYTES_PER_ID = 22
_WARN_FROM = 0.8


class WindowTooLargeError(Exception):
    """The ids of the window do not fit into the memory that they may have; the message says what can be done."""


class MemoryDedupe:
    """The index, and which partitions' ids are in it. `max_bytes` is what the ids may take."""

    def __init__(self, store: ClickHouse, window_s: int, partitions: int, max_bytes: int = 2**63) -> None:
        self._store = store
        self._partitions = partitions
        self._max_ids = max_bytes // BYTES_PER_ID
        self._warned_at = 0
        self._loaded: set[int] = set()
        self._suspended: set[int] = set()
        self._membership = Membership("", -1)
        self._rebalances = 0
        self.index = IdIndex(window_s)
        INDEX_IDS.set_function(lambda: len(self.index))
        INDEX_BYTES.set_function(lambda: self.index.size_bytes)

    def revoked(self, partitions: set[int]) -> None:
        """These partitions were taken away. Their ids are kept until `assigned` says whether they are good still."""
        self._rebalances += 1
        self._suspended |= partitions & self._loaded
        self._loaded -= partitions

    def assigned(self, partitions: set[int], membership: Membership) -> None:
        """These partitions are ours.

        A partition that was ours in the generation before, and we the same member, has had no other owner meanwhile:
        its ids are all known. Of any other, somebody else may have stored ids; they are read again.
        """
        self._rebalances += 1
        kept = self._suspended & partitions if membership.follows(self._membership) else set()
        # Also what a block that was under way has loaded since the partition went.
        gone = (self._suspended | self._loaded) - kept
        if gone:
            self.index.drop_partitions(gone, self._partitions)
        self._loaded = kept
        self._suspended = set()
        self._membership = membership

    async def load(self, partitions: set[int], oldest_s: float) -> None:
        """Make sure that all stored ids of these partitions are in the index, from the window of `oldest_s` on, the
        time of the oldest record that is to be looked up. Raises StoreError.

        What was read while partitions moved is read again: it may miss what the owner in between has stored.
        """
        since_s = window_start(self.index.window_s, oldest_s)
        self.index.expire(since_s + self.index.window_s)
        while missing := partitions - self._loaded:
            rebalances = self._rebalances
            with LOAD_SECONDS.time():
                loaded = await self._read_window(missing, since_s)
            if rebalances != self._rebalances:
                continue
            for at_s, ids in loaded:
                self.index.add(ids, at_s)
            self._loaded |= missing
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
        """The ids of each slice since then, with the slice's time. Raises WindowTooLargeError."""
        self._check_room(await self._count(partitions, since_s))
        slice_s = self.index.slice_s
        slices = range(int(since_s // slice_s), int(time.time() // slice_s) + 2)
        return [(at * slice_s, await self._read(partitions, at * slice_s, (at + 1) * slice_s)) for at in slices]

    async def _count(self, partitions: set[int], since_s: float) -> int:
        rows = await self._store.rows(
            f"SELECT count() FROM {EVENTS} WHERE {PARTITION_SQL} IN {{wanted:Array(UInt16)}} "
            "AND received_at >= fromUnixTimestamp64Milli({since:Int64})",
            {
                "partitions": self._partitions,
                "wanted": sorted(partitions),
                "since": int(since_s * 1000),
            },
        )
        return int(rows[0][0])

    async def _read(self, partitions: set[int], since_s: int, until_s: int) -> Ids:
        rows = await self._store.raw(
            f"SELECT DISTINCT event_id FROM {EVENTS} WHERE {PARTITION_SQL} IN {{wanted:Array(UInt16)}} "
            "AND received_at >= fromUnixTimestamp64Milli({since:Int64}) "
            "AND received_at < fromUnixTimestamp64Milli({until:Int64})",
            {
                "partitions": self._partitions,
                "wanted": sorted(partitions),
                "since": since_s * 1000,
                "until": until_s * 1000,
            },
            fmt="RowBinary",
        )
        return ids_from_rows(rows)
