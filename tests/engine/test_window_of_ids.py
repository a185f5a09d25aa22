"""The ids of the dedupe window are read from a real table: all of them, and without reading its history."""

import random
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.contract.log.topics import Partitioning
from services.contract.tables import EVENTS
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from services.worker.dedupe.clickhouse import ClickHouseDedupe
from services.worker.dedupe.ids import ids_from_bytes
from services.worker.dedupe.memory import MemoryDedupe
from tests.support.engine import as_role, send_sql

DAY_S = 86_400
WINDOW_S = 2 * DAY_S
HISTORY = 400_000
IN_WINDOW = 1_000
# Of one granule of the table.
GRANULE_ROWS = 8_192


def insert(settings: ClickHouseSettings, rows: int, age_s: str) -> None:
    """Rows that were received `age_s` seconds ago, an expression of their `number`."""
    send_sql(
        settings,
        f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, received_at, properties) "
        "SELECT 'window', generateUUIDv4(), 'e', toString(number), at, at, '{}' FROM "
        f"(SELECT number, now64(6) - toIntervalSecond({age_s}) AS at FROM numbers({rows}))",
    )


@pytest.fixture(scope="module")
def filled(clickhouse: ClickHouseSettings) -> ClickHouseSettings:
    """A month of history and a window, in one part: as merges leave it."""
    send_sql(clickhouse, f"TRUNCATE TABLE {EVENTS}")
    insert(clickhouse, HISTORY, f"{2 * WINDOW_S} + number % {20 * DAY_S}")
    insert(clickhouse, IN_WINDOW, "number")
    send_sql(clickhouse, f"OPTIMIZE TABLE {EVENTS} FINAL")
    return clickhouse


class CountingStore(ClickHouse):
    """Remembers how many rows each read of ids would look at, as ClickHouse estimates it."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        super().__init__(settings)
        self.looked_at: list[int] = []

    async def raw(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Any = None, fmt: str = "JSONEachRow"
    ) -> bytes:
        parts = await self.rows(f"EXPLAIN ESTIMATE {sql}", parameters)
        self.looked_at.append(sum(int(part[3]) for part in parts))
        return await super().raw(sql, parameters, settings, fmt)


async def test_the_window_is_read_whole_and_history_is_not(filled: ClickHouseSettings) -> None:
    store = CountingStore(filled)
    try:
        index = MemoryDedupe(store, WINDOW_S, Partitioning(1))
        await index.load({0: time.time()})
    finally:
        await store.close()
    assert len(index.index) == IN_WINDOW
    # Each slice meets the granules at the window's two ends; the table has fifty of them.
    assert len(store.looked_at) > 1
    assert max(store.looked_at) <= 3 * GRANULE_ROWS


async def test_a_block_is_asked_for_at_once_by_the_worker_s_own_user(filled: ClickHouseSettings) -> None:
    """As many ids as a block of the default size has, some of them stored."""
    stored = [
        UUID(one).bytes
        for one in send_sql(
            filled, f"SELECT event_id FROM {EVENTS} WHERE received_at > now() - {WINDOW_S} LIMIT 100"
        ).split()
    ]
    old = [
        UUID(one).bytes
        for one in send_sql(
            filled, f"SELECT event_id FROM {EVENTS} WHERE received_at < now() - {WINDOW_S + DAY_S} LIMIT 50"
        ).split()
    ]
    block = [*stored, *old, *(uuid4().bytes for _ in range(99_850))]
    random.Random(1).shuffle(block)
    store = ClickHouse(as_role(filled, Role.WORKER))
    try:
        dedupe = ClickHouseDedupe(store, WINDOW_S)
        found = await dedupe.duplicates(ids_from_bytes(b"".join(block)))
    finally:
        await store.close()
    assert {one for one, is_stored in zip(block, found.tolist(), strict=True) if is_stored} == set(stored)
