"""From when on the events of each project are kept: read from ClickHouse every few seconds, so that no query waits for it."""

from services.contract.tables import EXPIRED
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.logs import get_logger
from services.runtime.retry import repeat_forever

log = get_logger(__name__)
_SQL = f"SELECT project_id, toUnixTimestamp64Micro(max(kept_since)) FROM {EXPIRED} GROUP BY project_id"


class EventBorders:
    """May be old by one refresh. No answer is given before the first one: it could show what has expired."""

    def __init__(self, store: ClickHouse, refresh_s: float) -> None:
        self._store = store
        self._refresh_s = refresh_s
        self._since_us: dict[str, int] | None = None

    async def refresh_forever(self) -> None:
        await repeat_forever(self.refresh, (StoreError,), self._refresh_s, log, "event_borders_not_refreshed")

    async def refresh(self) -> None:
        """Raises StoreError, and keeps what was known."""
        self._since_us = {str(project): int(since_us) for project, since_us in await self._store.rows(_SQL)}

    async def of(self, project_id: str) -> int:
        """In microseconds; 0: all are kept. Raises StoreError while nothing is known."""
        if self._since_us is None:
            await self.refresh()
        return (self._since_us or {}).get(project_id, 0)
