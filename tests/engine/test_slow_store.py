"""A store that needs longer than a request may take is given more time with each try, or nothing would ever come through."""

import pytest

from services.runtime.clickhouse import ClickHouse, StoreTimeoutError, timeout_multiplier
from services.runtime.settings import ClickHouseSettings
from services.worker.until_stored import until_stored

_SLOW = "SELECT sleep(1)"


async def test_what_takes_longer_than_the_limit_comes_through_at_last(clickhouse: ClickHouseSettings) -> None:
    hasty = ClickHouse(clickhouse.model_copy(update={"clickhouse_timeout_s": 0.3}))
    try:
        with pytest.raises(StoreTimeoutError):
            await hasty.command(_SLOW)
        await until_stored(lambda: hasty.command(_SLOW))
        assert timeout_multiplier.get() == 1
        with pytest.raises(StoreTimeoutError):
            await hasty.command(_SLOW)
    finally:
        await hasty.close()
