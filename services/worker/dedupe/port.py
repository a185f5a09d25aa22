"""What the writer needs to know of stored ids: by memory (memory.py) or by asking each time (clickhouse.py)."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from services.worker.dedupe.ids import Ids, Mask


class Membership(NamedTuple):
    """What a worker is to the consumer group: a member's id, and the generation. Generations count from 1 again when
    the group was deleted, as an empty one without offsets is at once; an id never comes back. "": no member."""

    member: str
    generation: int

    def follows(self, before: "Membership") -> bool:
        """Whether the group has had no generation in between."""
        return self.member != "" and self == (before.member, before.generation + 1)


class Dedupe(Protocol):
    """Which ids are stored: in memory (memory.py), or by asking each time (clickhouse.py)."""

    async def load(self, oldest_s: Mapping[int, float]) -> None:
        """Be ready to answer for events of these partitions, written at this time or later. Raises StoreError."""

    async def duplicates(self, ids: Ids) -> Mask:
        """True for each id that is stored, or that stands earlier in `ids`. Raises StoreError."""

    def remember(self, ids: Ids) -> None:
        """These ids are stored now."""

    def changed(self, partition: int) -> None:
        """Some ids of this partition are not stored any more: they were deleted, and may be stored again."""

    def revoked(self, partitions: set[int]) -> None:
        """These partitions were taken away; others may store ids in them."""

    def assigned(self, partitions: set[int], membership: Membership) -> None:
        """These partitions are ours, as this member in this generation of the consumer group."""
