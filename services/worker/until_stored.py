"""Inserts and reads of the worker: again and again until ClickHouse takes them. Nothing is given up."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import Counter, Gauge

from services.runtime.clickhouse import (
    MAX_TIMEOUT_MULTIPLIER,
    BadDataError,
    StoreError,
    StoreTimeoutError,
    timeout_multiplier,
)
from services.runtime.logs import get_logger

log = get_logger(__name__)
INSERT_FAILURES = Counter("headrace_worker_insert_failures_total", "Inserts that ClickHouse did not acknowledge.")
STORE_UP = Gauge("headrace_worker_store_up", "1 while ClickHouse takes inserts, 0 while the worker waits for it.")
R = TypeVar("R")
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 10.0


def fresh_token() -> str:
    """A deduplication token that no other try of an insert has: ClickHouse must not drop a second try.

    A server that dies while it stores a block of several parts may have written down parts as seen that it has not
    kept; a second try under the same token would lose them. Rows that are stored twice are equal, and collapse.
    """
    return secrets.token_hex(16)


async def until_stored(attempt: Callable[[], Awaitable[R]]) -> R:
    """Attempt again and again while ClickHouse does not take it, ever more slowly, and with ever more time for the
    answer. Raises BadDataError only."""
    delay_s = _RETRY_FIRST_S
    usual = timeout_multiplier.set(1)
    try:
        while True:
            try:
                result = await attempt()
                STORE_UP.set(1)
                return result
            except BadDataError:
                raise
            except StoreError as error:
                INSERT_FAILURES.inc()
                STORE_UP.set(0)
                log.warning("store_failed", reason=str(error)[:500], retry_in_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_LAST_S)
                if isinstance(error, StoreTimeoutError):
                    timeout_multiplier.set(min(2 * timeout_multiplier.get(), MAX_TIMEOUT_MULTIPLIER))
    finally:
        timeout_multiplier.reset(usual)
