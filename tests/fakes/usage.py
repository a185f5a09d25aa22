"""The tables `project_limits` and `usage` in memory, as several edges share them."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec

from services.contract.tables import USAGE
from services.edge.http import quotas
from services.runtime.clickhouse import ClickHouse, Parameters, Settings, StoreUnavailableError
from services.runtime.project_limits import ProjectLimits
from tests.fakes.settings import CLICKHOUSE


class MemoryUsageStore(ClickHouse):
    """`limits` by project; `usage` by (day, project, edge). While `available` is off it raises."""

    def __init__(self, **limits: int) -> None:
        super().__init__(CLICKHOUSE)
        self.limits = {project: ProjectLimits(events_day=events) for project, events in limits.items()}
        self.usage: dict[tuple[date, str, str], tuple[int, int]] = {}
        self.available = True

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        if not self.available:
            raise StoreUnavailableError("the memory store is switched off")
        if sql != quotas._OTHERS_SQL:
            return [(project, each.events_day, each.retention_days) for project, each in self.limits.items()]
        assert parameters is not None
        sums: dict[str, int] = {}
        for (day, project, edge), (events, _) in self.usage.items():
            if day == parameters["day"] and edge != parameters["edge"]:
                sums[project] = sums.get(project, 0) + events
        return list(sums.items())

    async def insert_lines(
        self,
        table: str,
        columns: Sequence[str],
        lines: bytes | Sequence[bytes],
        token: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if not self.available:
            raise StoreUnavailableError("the memory store is switched off")
        assert table == USAGE
        assert isinstance(lines, bytes)
        for row in msgspec.json.decode(b"[" + b",".join(lines.splitlines()) + b"]"):
            assert list(row) == list(columns)
            at = (date.fromisoformat(row["day"]), row["project_id"], row["edge"])
            self.usage[at] = (row["events"], row["bytes"])

    def events_of(self, project: str) -> int:
        return sum(events for (_, of, _), (events, _) in self.usage.items() if of == project)
