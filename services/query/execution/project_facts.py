"""What statements have to know of a project ahead: read from ClickHouse every few seconds, so that no query waits for it.

Whether anything of it was deleted is read when the deletions have changed.
"""

from services.contract.tables import DELETED_IDS, EXPIRED
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.cluster import rows_of
from services.runtime.logs import get_logger
from services.runtime.retry import repeat_forever

log = get_logger(__name__)
# With 10,000 deleted ids as constants queries took two to six times as long as with a join; with none the join costs more.
MANY_DELETED_IDS = 1000
_BORDERS_SQL = f"SELECT project_id, toUnixTimestamp64Micro(max(kept_since)) FROM {EXPIRED} GROUP BY project_id"
_MANY_DELETED_SQL = f"SELECT project_id FROM {DELETED_IDS} GROUP BY project_id HAVING count() > {MANY_DELETED_IDS:d}"


class ProjectFacts:
    """May be old by one refresh. No answer is given before the first one: it could show what has expired."""

    def __init__(self, store: ClickHouse, refresh_s: float) -> None:
        self._store = store
        self._refresh_s = refresh_s
        self._since_us: dict[str, int] | None = None
        self._many_deleted: frozenset[str] = frozenset()
        # For a fingerprint of the deleted ids: the projects that have some.
        self._with_deletions: tuple[int, frozenset[str]] = (0, frozenset())

    async def refresh_forever(self) -> None:
        await repeat_forever(self.refresh, (StoreError,), self._refresh_s, log, "project_facts_not_refreshed")

    async def refresh(self) -> None:
        """Raises StoreError, and keeps what was known."""
        self._many_deleted = frozenset(str(project) for (project,) in await self._store.rows(_MANY_DELETED_SQL))
        self._since_us = {str(project): int(since_us) for project, since_us in await self._store.rows(_BORDERS_SQL)}

    async def kept_since_us(self, project_id: str) -> int:
        """From when on its events are kept, in microseconds; 0: all are. Raises StoreError while nothing is known."""
        if self._since_us is None:
            await self.refresh()
        return (self._since_us or {}).get(project_id, 0)

    async def nothing_deleted(self, project_id: str, deletions: int) -> bool:
        """Whether the project had no deletion when the fingerprint of the deletions was read. False where it cannot be told."""
        if deletions != self._with_deletions[0]:
            # A replica that is behind must not hide what another one has.
            table = rows_of(self._store.cluster, self._store.database, DELETED_IDS)
            try:
                rows = await self._store.rows(f"SELECT DISTINCT project_id FROM {table}")
            except StoreError:
                return False
            self._with_deletions = (deletions, frozenset(str(project) for (project,) in rows))
        return project_id not in self._with_deletions[1]

    def has_many_deleted(self, project_id: str) -> bool:
        """What is faster hangs on it, and no answer."""
        return project_id in self._many_deleted
