"""One way to try again: wait the same time between tries, and say once that it is not there yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

R = TypeVar("R")
Failures = tuple[type[Exception], ...]


async def retry_until_done(
    attempt: Callable[[], Awaitable[R]],
    failures: Failures,
    every_s: float,
    log: structlog.stdlib.BoundLogger,
    not_done: str,
) -> R:
    """The first result. Logs `not_done` whenever the reason is another one; other errors than `failures` are raised."""
    said = ""
    while True:
        try:
            return await attempt()
        except failures as error:
            reason = str(error) or repr(error)
            if reason != said:
                log.warning(not_done, reason=reason)
            said = reason
            await asyncio.sleep(every_s)


async def repeat_forever(
    attempt: Callable[[], Awaitable[None]],
    failures: Failures,
    every_s: float,
    log: structlog.stdlib.BoundLogger,
    not_done: str,
) -> None:
    """Do it every so often. A failure is logged once, until it works again."""
    while True:
        await retry_until_done(attempt, failures, every_s, log, not_done)
        await asyncio.sleep(every_s)
