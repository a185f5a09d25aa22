"""What of the store an answer can depend on, as one number: it changes with whatever is inserted, merged, deleted or dropped.
And what these parts say of how to read them.

Parts are never changed, only made and taken away, and each has a checksum of its files. So the same parts are the same rows.
Events lie in months: an answer about past months does not depend on the parts of this one.
"""

import asyncio
import time
from collections.abc import Collection, Iterable
from typing import Any

from msgspec import Struct
from xxhash import xxh3_64_intdigest, xxh3_128

from services.contract.tables import COHORT_IDS, COHORTS, DELETED_IDS, EVENTS, IDENTITY_LOG, PERSON_IDS
from services.query.request.time_window import TimeWindow
from services.runtime.clickhouse import ClickHouse, StoreError, StoreUnavailableError
from services.runtime.clock import utc_time
from services.runtime.cluster import on_replicas, own_table
from services.runtime.logs import get_logger

log = get_logger(__name__)

# A replica that hangs says nothing for seconds, and each answer waits for the fingerprint.
_NOT_AGAIN_S = 30.0
# Longer than a server of a cluster may be silent. The one that is asked may hang itself.
_LONGEST_S = 15.0
# None: of all time.
Months = Collection[int] | None

_TABLES = (COHORT_IDS, COHORTS, DELETED_IDS, IDENTITY_LOG, PERSON_IDS)
# A short text: every answer waits for it, and on a cluster each server works it out. To put the parts together there takes
# longer than to send them.
_SQL = (
    "SELECT table, partition, rows, hash_of_all_files FROM {parts} WHERE database = {{database:String}} AND active "
    "AND (table IN {{tables:Array(String)}} OR table = {{events:String}}{of_months})"
)
_OF_MONTHS = " AND partition IN {months:Array(String)}"


# FINAL costs some 0.25 us for each row that it has to merge, to count distinct rows 0.035 us for each row that is counted.
_FRESH_SHARE = 0.1


class Fingerprint(Struct, frozen=True):
    """`deletions`: of the deleted ids of all projects alone; 0 where there are none. `fresh`: a tenth of the events lies outside
    of the largest part of its month, and more."""

    of_all: bytes
    deletions: int
    fresh: bool


def fingerprint_sql(cluster: str, months: Months) -> str:
    """On a cluster, of all replicas: whichever of them a query meets, its parts are among them."""
    return _SQL.format(parts=on_replicas(cluster, "system.parts"), of_months=_OF_MONTHS if months else "")


def months_of(window: TimeWindow) -> list[int]:
    """The months that a time window touches, as partitions are named: 202603."""
    since, last = utc_time(window.since_us), utc_time(window.until_us - 1)
    first, end = since.year * 12 + since.month - 1, last.year * 12 + last.month
    return [month // 12 * 100 + month % 12 + 1 for month in range(first, end)]


class Fingerprints:
    def __init__(self, store: ClickHouse) -> None:
        self._store = store
        self._said = False
        self._not_before = float("-inf")

    async def read(self, months: Months) -> Fingerprint | None:
        """None where nothing can be said, for instance because a replica is away: then nothing is kept, and none is read for a
        while."""
        if time.monotonic() < self._not_before:
            return None
        parameters = {
            "database": self._store.database,
            "tables": list(_TABLES),
            "events": own_table(EVENTS, self._store.cluster),
            "months": [str(month) for month in months or ()],
        }
        try:
            async with asyncio.timeout(_LONGEST_S):
                rows = await self._store.rows(fingerprint_sql(self._store.cluster, months), parameters)
        except (StoreError, TimeoutError) as error:
            if not self._said:
                log.warning("results_not_kept", reason=str(error)[:500] or "no answer in time")
            self._said = True
            if isinstance(error, TimeoutError) or (isinstance(error, StoreUnavailableError) and self._store.cluster):
                self._not_before = time.monotonic() + _NOT_AGAIN_S
            return None
        self._said = False
        parts = sorted(map(tuple, rows))
        deleted = [part for part in parts if part[0] == DELETED_IDS]
        deletions = xxh3_64_intdigest(repr(deleted).encode()) if deleted else 0
        # On a cluster, parts of several servers: which of them is read is not known.
        fresh = not self._store.cluster and _is_fresh(parts)
        return Fingerprint(xxh3_128(repr(parts).encode()).digest(), deletions, fresh)


def _is_fresh(parts: Iterable[tuple[Any, ...]]) -> bool:
    largest: dict[str, int] = {}
    total = 0
    for table, month, rows, _ in parts:
        if table == EVENTS:
            total += rows
            largest[month] = max(rows, largest.get(month, 0))
    return total - sum(largest.values()) > total * _FRESH_SHARE
