"""A store that counts what goes through it."""

from collections.abc import Sequence
from typing import Any

from services.contract.tables import PERSON_IDS
from services.runtime.clickhouse import ClickHouse, Parameters, Settings


class CountingStore(ClickHouse):
    """Counts rows on their way to person_ids, and rows of answers."""

    written = 0
    read = 0

    async def insert_lines(
        self,
        table: str,
        columns: Sequence[str],
        lines: bytes | Sequence[bytes],
        token: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if table == PERSON_IDS:
            self.written += (lines if isinstance(lines, bytes) else b"".join(lines)).count(b"\n")
        await super().insert_lines(table, columns, lines, token, settings)

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        found = await super().rows(sql, parameters, settings)
        self.read += len(found)
        return found
