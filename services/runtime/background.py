"""Tasks beside the requests. One that dies ends its process with the reason: half a service looks well and is not."""

import asyncio
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any

from services.runtime.logs import get_logger

log = get_logger(__name__)
_dead: list[str] = []


def in_background(what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Whoever starts it cancels it."""
    task = asyncio.create_task(work, name=what)
    task.add_done_callback(partial(_look_at_end, what))
    return task


def dead_tasks() -> list[str]:
    """What has died: the process is about to end. Liveness says so."""
    return list(_dead)


def _look_at_end(what: str, task: asyncio.Task[None]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    _dead.append(what)
    log.critical("service_stops", task=what, reason=repr(error), exc_info=error)
    _end_process()


def _end_process() -> None:
    """In good order: requests that are under way are finished."""
    signal.raise_signal(signal.SIGTERM)
