"""Keys in ClickHouse itself: the later word counts, whatever the clocks of those who say it."""

import time

import pytest

from services.runtime.clickhouse import ClickHouse
from services.runtime.keys import KeyCache, Scope, create_key, hash_of, revoke_key
from services.runtime.settings import ClickHouseSettings


async def test_revoking_under_a_clock_behind_the_maker_s(
    clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ClickHouse(clickhouse)
    keys = KeyCache(store, 60)

    async def is_known() -> bool:
        await keys.refresh()
        return await keys.find("hr_key") is not None

    try:
        await create_key(store, "hr_key", "shop", {Scope.INGEST})
        assert await is_known()
        now = time.time_ns()
        monkeypatch.setattr("services.runtime.keys.time.time_ns", lambda: now - 3600 * 10**9)
        assert await revoke_key(store, hash_of("hr_key")[:12]) == 1
        assert not await is_known()
        await create_key(store, "hr_key", "shop", {Scope.INGEST})
        assert await is_known()
    finally:
        await store.close()
