"""Fills the index of ids from ClickHouse, the only truth, for partitions that this worker has been given."""

import time
from typing import Any

import numpy as np
from prometheus_client import Gauge, Histogram

from services.contract.events_table import EVENTS
from services.contract.topics import PARTITION_SQL
from services.runtime.clickhouse import ClickHouse
from services.runtime.logs import get_logger
from services.worker.dedupe import IdIndex, Ids

log = get_logger(__name__)

INDEX_IDS = Gauge("headrace_worker_index_ids", "Event ids of the window held in memory.")
INDEX_BYTES = Gauge("headrace_worker_index_bytes", "Memory of the event ids.")
LOAD_SECONDS = Histogram(
    "headrace_worker_index_load_seconds",
    "Time to read the ids of newly assigned partitions from ClickHouse.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
)

# ClickHouse's RowBinary form of a UUID: both halves little-endian, the first half first.
_UUID_ROW: Any = np.dtype([("high", "<u8"), ("low", "<u8")])


class StoredIds:
    """The index, and which partitions' ids are in it."""

    def __init__(self, store: ClickHouse, window_s: int, partitions: int) -> None:
        self._store = store
        self._partitions = partitions
        self._loaded: set[int] = set()
        self.index = IdIndex(window_s)
        INDEX_IDS.set_function(lambda: len(self.index))
        INDEX_BYTES.set_function(lambda: self.index.size_bytes)

    def forget(self, partitions: set[int]) -> None:
        """These partitions were taken away: what others store in them meanwhile is not known here."""
        gone = partitions & self._loaded
        if gone:
            self._loaded -= gone
            self.index.drop_partitions(gone, self._partitions)

    async def load(self, partitions: set[int]) -> None:
        """Make sure that all stored ids of these partitions are in the index. Raises StoreError."""
        now = time.time()
        self.index.expire(now)
        missing = partitions - self._loaded
        if not missing:
            return
        with LOAD_SECONDS.time():
            loaded = []
            slice_s = self.index.slice_s
            for at in range(int((now - self.index.window_s) // slice_s), int(now // slice_s) + 2):
                loaded.append((at, await self._read(missing, at * slice_s, (at + 1) * slice_s)))
        for at, ids in loaded:
            self.index.add(ids, at * slice_s)
        self._loaded |= missing
        log.info("ids_loaded", partitions=sorted(missing), ids=sum(len(ids) for _, ids in loaded))

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
        columns = np.frombuffer(rows, dtype=_UUID_ROW)
        return Ids(columns["high"].astype(np.uint64), columns["low"].astype(np.uint64))
