"""Which properties have a column of their own: read from ClickHouse every few seconds, so that no query waits for it."""

from services.contract.tables import EVENTS, PROMOTED_PREFIX
from services.query.sql.parameters import NONE_PROMOTED, Promoted
from services.query.sql.properties import DEFINITION_MARK, promoted_keys
from services.runtime.clickhouse import ClickHouse, StoreError
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
