"""Kills containers at set times of a run, and starts them again, as whatever runs containers does."""

import threading
import time
from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from tests.load.stack import EDGE, WORKER, Stack

# What of the run is over when they come.
_AT = {WORKER: 0.2, EDGE: 0.6}


class Kill(Struct, array_like=True):
    """Of one container. Moments on the monotonic clock; `ready`: when it took its part again."""

    name: str
    at: float
    ready: float


class Killer:
    """A thread that kills a worker and an edge while it is entered. `kills`: those that were done."""

    def __init__(self, stack: Stack, starts_at: float, seconds: float, down_s: float, services: Sequence[str]) -> None:
        self._stack = stack
        self._times = [(starts_at + _AT[service] * seconds, service) for service in services]
        self._down_s = down_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills: list[Kill] = []
        self.failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self.failure:
            raise self.failure

    def _run(self) -> None:
        try:
            for at, service in self._times:
                if self._over.wait(max(0.0, at - time.monotonic())):
                    return
                self._kill(service)
        except Exception as error:
            self.failure = error

    def _kill(self, service: str) -> None:
        container = self._stack.of(service)[0]
        killed = time.monotonic()
        container.kill()
        self._over.wait(self._down_s)
        container.start()
        self._stack.wait_ready(container)
        self.kills.append(Kill(container.name, killed, time.monotonic()))
