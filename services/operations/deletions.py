"""Deletions again: after a backup was restored that still has what was deleted since."""

from datetime import datetime

from services.contract.api.timestamps import microseconds
from services.contract.tables import DELETIONS
from services.runtime.clickhouse import ClickHouse

_AGAIN = "finished_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND finished_at != toDateTime64(0, 6, 'UTC')"


async def replay_deletions(store: ClickHouse, since: datetime) -> int:
    """Those that were done since then are under way again, and their number. The query service does them; of tables that
    have nothing of them it rewrites nothing. Raises StoreError."""
    asked = {"since": microseconds(since)}
    ((count,),) = await store.rows(f"SELECT count() FROM {DELETIONS} FINAL WHERE {_AGAIN}", asked)
    await store.command(
        f"INSERT INTO {DELETIONS} SELECT * REPLACE (toDateTime64(0, 6, 'UTC') AS finished_at, d.version + 1 AS version) "
        f"FROM {DELETIONS} AS d FINAL WHERE {_AGAIN.replace('finished_at', 'd.finished_at')}",
        asked,
    )
    return int(count)
