"""What of the store an answer can depend on, as one number: it changes with whatever is inserted, merged, deleted or dropped.

Parts are never changed, only made and taken away, and each has a checksum of its files. So the same parts are the same rows.
Events lie in months: an answer about past months does not depend on the parts of this one.
"""

import asyncio
import time
from collections.abc import Collection

from msgspec import Struct
from xxhash import xxh3_128

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
# One row, of a short text: every answer waits for it, and on a cluster each server works the text out.
_SQL = (
    f"SELECT count(), sum(cityHash64(hash_of_all_files) AS hash), sumIf(hash, table = '{DELETED_IDS}') "
    "FROM {parts} WHERE database = {{database:String}} AND active "
    "AND (table IN {{tables:Array(String)}} OR table = {{events:String}}{of_months})"
)
_OF_MONTHS = " AND partition IN {months:Array(String)}"


class Fingerprint(Struct, frozen=True):
    """`deletions`: of the deleted ids of all projects alone; 0 where there are none."""

    of_all: bytes
    deletions: int


def fingerprint_sql(cluster: str, months: Months) -> str:
    """On a cluster, of all replicas: whichever of them a query meets, its rows are among them."""
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
        return Fingerprint(xxh3_128(repr(rows).encode()).digest(), rows[0][2])
