"""Gives a column of its own to a property that queries read from the text all the time.

When is to rent or to buy: as soon as queries have taken as long, for reading a property from the text, as writing its
column takes. So both together never take more than twice what the better choice would have.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from services.contract.tables import EVENTS
from services.query.execution.materialized_columns import MaterializedColumns, add_column, read_promoted
from services.query.sql.properties import DEFINITION_MARK, column_name, is_promotable
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.cluster import own_table
from services.runtime.logs import get_logger

log = get_logger(__name__)
# Writing a column reads the text of every event.
_WRITE_S_PER_EVENT = 1e-6
# Nobody has waited long for less, whatever the number of events.
_LEAST_READ_S = 30.0
_EVERY_S = 10.0
# Of keys that are in no event, too: whoever asks chooses them.
_MAX_KEYS = 1000
_ACCESS_DENIED = 497

_ROWS_SQL = (
    "SELECT sum(rows) FROM system.parts WHERE database = currentDatabase() AND table = {table:String} AND active"
)
# Also one that an older version defined in another way: whose it is, an operator decides. On a cluster it may lie behind a
# table that does not show it.
_HAS_OTHER_COLUMN_SQL = (
    "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table IN {tables:Array(String)} "
    "AND name = {name:String} AND position(default_expression, {mark:String}) = 0"
)


class Promoter:
    """Belongs to one event loop. Several query services may do it beside each other: each counts its own queries."""

    def __init__(self, store: ClickHouse, columns: MaterializedColumns, up_to: int) -> None:
        """`up_to`: how many properties may have columns, those that an operator promoted too; 0 promotes none."""
        self._store = store
        self._columns = columns
        self._up_to = up_to
        self._read_s: dict[str, float] = defaultdict(float)

    def note(self, keys: Iterable[str], seconds: float) -> None:
        """A query took so long, and read these properties from the text."""
        for key in filter(is_promotable, keys if self._up_to else ()):
            if key not in self._read_s and len(self._read_s) >= _MAX_KEYS:
                del self._read_s[min(self._read_s, key=self._read_s.__getitem__)]
            self._read_s[key] += seconds

    async def run_forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.promote()

    async def promote(self) -> None:
        """At most one property. What cannot be is said once, and is tried again after as much reading."""
        key = self._most_read()
        if key is None:
            return
        try:
            table = own_table(EVENTS, self._store.cluster)
            ((rows,),) = await self._store.rows(_ROWS_SQL, {"table": table})
            if self._read_s[key] < rows * _WRITE_S_PER_EVENT:
                return
            read_s = self._read_s.pop(key)
            named = {"tables": [table, EVENTS], "name": column_name(key), "mark": DEFINITION_MARK}
            ((others,),) = await self._store.rows(_HAS_OTHER_COLUMN_SQL, named)
            # What was read every few seconds may not know the latest one yet.
            promoted = await read_promoted(self._store)
            if others or key in promoted or len(promoted) >= self._up_to:
                return
            await add_column(self._store, self._store.cluster, key, new_only=False)
        except StoreError as error:
            advice = f"`headrace properties promote {key}` does the same, also where it was done in part"
            if error.code == _ACCESS_DENIED:
                advice = "run `headrace roles` again: the role of the query service has new rights"
            log.warning("property_not_promoted", property=key, reason=str(error)[:500], advice=advice)
            return
        log.info("property_promoted", property=key, read_s=round(read_s, 1), events=rows)

    def _most_read(self) -> str | None:
        if len(self._columns.keys) >= self._up_to:
            return None
        for promoted in self._columns.keys & self._read_s.keys():
            del self._read_s[promoted]
        key = max(self._read_s, key=self._read_s.__getitem__, default=None)
        return key if key is not None and self._read_s[key] >= _LEAST_READ_S else None
