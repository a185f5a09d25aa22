"""The table of project keys in memory, for tests of what asks it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from services.runtime.clickhouse import ClickHouse, Parameters, Settings, StoreUnavailableError
from services.runtime.keys import hash_of
from tests.fakes.settings import CLICKHOUSE


class MemoryKeyStore(ClickHouse):
    """Answers the one query that KeyCache asks. `asked` counts; while `available` is off it raises.

    With `hold` a query waits in the store until `hold` is set.
    """

    def __init__(self) -> None:
        super().__init__(CLICKHOUSE)
        self.available = True
        self.asked = 0
        self.hold: asyncio.Event | None = None
        self._asked = asyncio.Event()
        self._rows: dict[str, tuple[str, str, list[str]]] = {}

    def put(self, key: str, project_id: str, *scopes: str) -> None:
        digest = hash_of(key)
        self._rows[digest] = (digest, project_id, list(scopes))

    def revoke(self, key: str) -> None:
        del self._rows[hash_of(key)]

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        self.asked += 1
        self._asked.set()
        read = list(self._rows.values())
        if self.hold is not None:
            await self.hold.wait()
        if not self.available:
            raise StoreUnavailableError("the memory store is switched off")
        return list(read)

    async def until_asked(self, times: int) -> None:
        """Returns when the query has been put so many times in all."""
        while self.asked < times:
            self._asked.clear()
            await self._asked.wait()
