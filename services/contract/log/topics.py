"""Kafka topics: their names, their keys, and which partition an event goes to."""

import struct
from collections.abc import Sequence

from msgspec import Struct


class Topics(Struct, frozen=True):
    """`prefix` lets several installations share one Kafka cluster."""

    prefix: str = "headrace"

    @property
    def events(self) -> str:
        """Envelopes of track events, partitioned by event id."""
        return f"{self.prefix}.events"

    @property
    def identity(self) -> str:
        """Envelopes of identify, alias and group, keyed by project: one order for all merges of a project."""
        return f"{self.prefix}.identity"

    @property
    def known(self) -> str:
        """The last keys and the last spread of ids that edges knew. Compacted."""
        return f"{self.prefix}.known"

    @property
    def dead_letters(self) -> str:
        """What could not be taken, with the reason and the origin."""
        return f"{self.prefix}.dead-letters"


# A record may hold one event of the largest size and its envelope; the topics are created with this limit.
MAX_RECORD_BYTES = 2 * 1024 * 1024


# Ids go to buckets, and buckets to partitions. Where the partitions divide it, it makes no difference to the formula
# without buckets, which is the one with as many as 16 bits can tell apart.
BUCKETS = 1024
NO_BUCKETS = 65_536


class Partitioning(Struct, frozen=True):
    """How ids are spread over `partitions` partitions. All services agree on it (runtime/partitioning.py)."""

    partitions: int
    buckets: int = BUCKETS

    def partition_of(self, event_id: bytes) -> int:
        """Equal ids always meet in the same partition. `PARTITION_SQL` is the same formula in ClickHouse."""
        return ((event_id[0] << 8) | event_id[1]) % self.buckets % self.partitions

    def partitions_of(self, event_ids: Sequence[bytes]) -> list[int]:
        """`partition_of` for each of many."""
        buckets, partitions = self.buckets, self.partitions
        numbers = struct.unpack(">" + "H14x" * len(event_ids), b"".join(event_ids))
        if buckets % partitions == 0:
            return [number % partitions for number in numbers]
        return [number % buckets % partitions for number in numbers]


# Selects the ids of one partition: `{PARTITION_SQL} = {partition:UInt16}`.
PARTITION_SQL = "bitShiftRight(toUInt128(event_id), 112) % {buckets:UInt32} % {partitions:UInt16}"
