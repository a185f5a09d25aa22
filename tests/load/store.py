"""What the events take in the store while a run lasts: rows, bytes on disk, parts, mutations under way."""

import threading
import time
from typing import Self

import httpx
from msgspec import Struct

from tests.load.stack import Stack

_SQL = (
    "SELECT sum(rows), sum(bytes_on_disk), count(), "
    "(SELECT count() FROM system.mutations WHERE database = 'headrace' AND NOT is_done) "
    "FROM system.parts WHERE database = 'headrace' AND table = 'events' AND active FORMAT TSV"
)


class StoreMoment(Struct, array_like=True):
    """`at` on the monotonic clock."""

    at: float
    rows: int
    bytes: int
    parts: int
    mutations: int


class StoreSampler:
    """A thread that takes a StoreMoment every so often while it is entered."""

    def __init__(self, stack: Stack, every_s: float) -> None:
        self._stack = stack
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.moments: list[StoreMoment] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                values = [int(value) for value in self._stack.sql(_SQL).split()]
            except (httpx.HTTPError, RuntimeError):
                continue  # asked again at the next turn
            self.moments.append(StoreMoment(time.monotonic(), *values))
