"""What is known of ClickHouse's rows in memory, read again every few seconds."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.runtime.clickhouse import StoreError


async def refresh_forever(
    refresh: Callable[[], Awaitable[None]], every_s: float, log: structlog.stdlib.BoundLogger, not_refreshed: str
) -> None:
    """Goes on when ClickHouse fails, and logs `not_refreshed` once until it answers again."""
    failing = False
    while True:
        try:
            await refresh()
            failing = False
        except StoreError as error:
            if not failing:
                log.warning(not_refreshed, reason=str(error))
            failing = True
        await asyncio.sleep(every_s)
