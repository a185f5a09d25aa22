"""What the events take in the store while a run lasts: rows, bytes on disk, parts, mutations under way."""

import time

import httpx
from msgspec import Struct

from tests.load.sampler import Sampler
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


class StoreSampler(Sampler[StoreMoment]):
    def __init__(self, stack: Stack, every_s: float) -> None:
        super().__init__(every_s)
        self._stack = stack

    def look(self) -> StoreMoment | None:
        try:
            values = [int(value) for value in self._stack.sql(_SQL).split()]
        except (httpx.HTTPError, RuntimeError):
            return None
        return StoreMoment(time.monotonic(), *values)
