"""Kafka topics: their names, their keys, and which partition an event goes to."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from services.contract.envelope import ID_BYTES


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


def partitions_of(event_ids: Sequence[bytes], partitions: int) -> npt.NDArray[np.uint16]:
    """`partition_of` for each of many."""
    return np.frombuffer(b"".join(event_ids), ">u2")[:: ID_BYTES // 2] % partitions


# Selects the ids of one partition: `{PARTITION_SQL} = {partition:UInt16}`.
PARTITION_SQL = "bitShiftRight(toUInt128(event_id), 112) % {partitions:UInt16}"
