"""How large the tables are, whose growth says what a month more will cost; and whether ClickHouse is able to rewrite them."""

from prometheus_client import Gauge

from services.contract.tables import SHARDED
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.cluster import own_table
from services.runtime.logs import get_logger
from services.runtime.retry import repeat_forever

log = get_logger(__name__)
BYTES = Gauge("headrace_query_store_bytes", "Bytes of a table on disk, on the server that is asked.", ["table"])
ROWS = Gauge("headrace_query_store_rows", "Rows of a table, on the server that is asked.", ["table"])
FAILING = Gauge(
    "headrace_query_failing_mutations", "Rewritings of tables that have failed so far, and that ClickHouse tries again."
)
_EVERY_S = 60.0
SQL = (
    "SELECT table, sum(bytes_on_disk), sum(rows) FROM system.parts "
    "WHERE database = currentDatabase() AND active GROUP BY table"
)


FAILING_SQL = (
    "SELECT count() FROM system.mutations "
    "WHERE database = currentDatabase() AND NOT is_done AND latest_fail_reason != ''"
)


class StoreSize:
    """Belongs to one event loop."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store
        # On a cluster the tables that have the rows have other names.
        self._names = {own_table(table, store.cluster): table for table in SHARDED}

    async def measure_forever(self) -> None:
        await repeat_forever(self.measure, (StoreError,), _EVERY_S, log, "store_not_measured")

    async def measure(self) -> None:
        """Raises StoreError."""
        for own, size, rows in await self._store.rows(SQL):
            table = self._names.get(own, own)
            BYTES.labels(table).set(size)
            ROWS.labels(table).set(rows)
        ((failing,),) = await self._store.rows(FAILING_SQL)
        FAILING.set(failing)
