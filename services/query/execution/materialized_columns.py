"""Which properties have a column of their own: read from ClickHouse every few seconds, so that no query waits for it."""

from services.contract.tables import EVENTS, PROMOTED_PREFIX
from services.query.sql.parameters import NONE_PROMOTED, Promoted
from services.query.sql.properties import DEFINITION_MARK, column_definition, promoted_keys, property_column
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.cluster import on_cluster, own_table
from services.runtime.logs import get_logger
from services.runtime.retry import repeat_forever

log = get_logger(__name__)


async def read_promoted(store: ClickHouse) -> Promoted:
    """Raises StoreError. A column that was defined in another way, by an older version, has other values."""
    rows = await store.rows(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "AND startsWith(name, {prefix:String}) AND default_kind = 'MATERIALIZED' "
        "AND position(default_expression, {mark:String}) > 0",
        {"table": EVENTS, "prefix": PROMOTED_PREFIX, "mark": DEFINITION_MARK},
    )
    return promoted_keys(name for (name,) in rows)


async def add_column(store: ClickHouse, cluster: str, key: str, *, new_only: bool) -> None:
    """Unless `new_only`, ClickHouse writes it into the parts that are there, in the background. Safe to repeat.

    The key must be promotable. Raises StoreError.
    """
    tables, column = tables_of_columns(cluster), property_column(key)
    definition = f"String MATERIALIZED {column_definition(key)}"
    for table in tables:
        await store.command(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} {definition}")
    if not new_only:
        await store.command(f"ALTER TABLE {tables[0]} MATERIALIZE COLUMN {column}", settings={"mutations_sync": 0})


def tables_of_columns(cluster: str) -> list[str]:
    """Behind ALTER TABLE: that with the rows, and on a cluster the one that shows all shards, which asks it for the columns."""
    return [f"{table} {on_cluster(cluster)}" for table in dict.fromkeys((own_table(EVENTS, cluster), EVENTS))]


class MaterializedColumns:
    """`keys` may be old by one refresh; before the first one there are none, which costs time and changes no answer."""

    def __init__(self, store: ClickHouse, refresh_s: float) -> None:
        self._store = store
        self._refresh_s = refresh_s
        self.keys = NONE_PROMOTED

    async def refresh_forever(self) -> None:
        await repeat_forever(self._refresh, (StoreError,), self._refresh_s, log, "promoted_properties_not_refreshed")

    async def _refresh(self) -> None:
        self.keys = await read_promoted(self._store)
