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
    def dead_letters(self) -> str:
        """What could not be taken, with the reason and the origin."""
        return f"{self.prefix}.dead-letters"


# A record may hold one event of the largest size and its envelope; the topics are created with this limit.
MAX_RECORD_BYTES = 2 * 1024 * 1024


def partition_of(event_id: bytes, partitions: int) -> int:
    """Equal ids always meet in the same partition. `PARTITION_SQL` is the same formula in ClickHouse."""
    return ((event_id[0] << 8) | event_id[1]) % partitions


def partitions_of(event_ids: Sequence[bytes], partitions: int) -> list[int]:
    """`partition_of` for each of many."""
    return [number % partitions for number in struct.unpack(">" + "H14x" * len(event_ids), b"".join(event_ids))]


# Selects the ids of one partition: `{PARTITION_SQL} = {partition:UInt16}`.
PARTITION_SQL = "bitShiftRight(toUInt128(event_id), 112) % {partitions:UInt16}"
