"""Which ids are stored already, by asking ClickHouse for each block. No memory, no loading; each block costs a scan of
the ids of the window (16 bytes an event), because ids are random and no index of the table can skip any. The block's own go
with the statement as a table: as SQL, a hundred thousand of them took six seconds to be read."""

import time
from collections.abc import Mapping

from services.runtime.clickhouse import ClickHouse
from services.worker.dedupe.id_index import IdIndex
from services.worker.dedupe.ids import Ids, Mask, without_repeats
from services.worker.dedupe.port import Membership
from services.worker.dedupe.stored import read_ids
from services.worker.dedupe.window import CLOCK_SKEW_S


class ClickHouseDedupe:
    """Has nothing to remember or to forget: ClickHouse knows."""

    def __init__(self, store: ClickHouse, window_s: int) -> None:
        self._store = store
        self._window_s = window_s
        self._since_s = time.time() - window_s - CLOCK_SKEW_S

    async def load(self, oldest_s: Mapping[int, float]) -> None:
        """Only which time is asked for from now on."""
        self._since_s = min(oldest_s.values()) - self._window_s - CLOCK_SKEW_S

    def remember(self, ids: Ids) -> None: ...

    def changed(self, partition: int) -> None: ...

    def revoked(self, partitions: set[int]) -> None: ...

    def assigned(self, partitions: set[int], membership: Membership) -> None: ...

    async def duplicates(self, ids: Ids) -> Mask:
        """True for each id that is stored, or that stands earlier in `ids`. Raises StoreError."""
        found = IdIndex(self._window_s)
        stored = await stored_ids(self._store, ids, self._since_s)
        found.add(stored, time.time())
        return found.duplicates(ids)


async def stored_ids(store: ClickHouse, ids: Ids, since_s: float) -> Ids:
    """Those that were received since then and are stored, or were and are a deleted person's: their keys stay taken. Each
    once. Raises StoreError."""
    where = "WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})"
    return without_repeats(await read_ids(store, where, {"since": int(since_s * 1000)}, asked=ids))
