"""Ids that are read while partitions move: what the owner in between has stored must not be missed."""

import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from services.contract.log.topics import Partitioning
from services.worker.dedupe.ids import Ids
from services.worker.dedupe.memory import MemoryDedupe
from services.worker.dedupe.port import Membership


class StoreInMotion:
    """Has one id of partition 0. While the first query is answered, something happens."""

    cluster = ""

    def __init__(self) -> None:
        self.ids = [7]
        self.meanwhile: Callable[[], None] | None = None

    async def rows(self, sql: str, parameters: Mapping[str, Any], settings: Any) -> list[list[int]]:
        return [[len(self.ids)]]

    async def raw(self, sql: str, parameters: Mapping[str, Any], settings: Any, fmt: str) -> bytes:
        answer = b"".join(struct.pack("<QQ", 0, low) for low in self.ids)
        if self.meanwhile is not None:
            happen, self.meanwhile = self.meanwhile, None
            happen()
        return answer


async def test_what_was_read_before_the_partition_came_back_is_read_again() -> None:
    store = StoreInMotion()
    known = MemoryDedupe(store, 3600, Partitioning(1))  # type: ignore[arg-type]
    known.assigned({0}, Membership("me", 1))

    def away_and_back() -> None:
        known.revoked({0})
        store.ids.append(8)
        known.assigned({0}, Membership("me", 3))

    store.meanwhile = away_and_back
    await known.load(dict.fromkeys({0}, time.time()))
    assert (await known.duplicates(Ids(np.array([0, 0], np.uint64), np.array([7, 8], np.uint64)))).tolist() == [
        True,
        True,
    ]
