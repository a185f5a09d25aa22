"""A partition's log as it lies on a broker's disk: what is in it, and how it loses its end. The broker must be down."""

import struct
from dataclasses import dataclass
from pathlib import Path

from aiokafka.record.memory_records import MemoryRecords

from services.contract.log.envelope import ID_BYTES, IDS_HEADER

# Of a batch: the first offset and the length of what follows; and the last offset, counted from the first.
_HEAD = struct.Struct(">qi")
_LAST = struct.Struct(">23xi")


@dataclass(frozen=True)
class Batch:
    """`at`: where it begins in its file. `offset` and `last` of its records; `ids` of its events."""

    at: int
    offset: int
    last: int
    ids: list[bytes]


class LogFile:
    """The last segment of a partition."""

    def __init__(self, broker_dir: Path, topic: str, partition: int) -> None:
        self.path = max((broker_dir / "log" / f"{topic}-{partition}").glob("*.log"))

    def batches(self) -> list[Batch]:
        data = self.path.read_bytes()
        found, at = [], 0
        while at + _HEAD.size <= len(data):
            offset, length = _HEAD.unpack_from(data, at)
            until = at + _HEAD.size + length
            if length <= 0 or until > len(data):
                break
            last = offset + _LAST.unpack_from(data, at)[0]
            found.append(Batch(at, offset, last, _ids(data[at:until])))
            at = until
        return found

    def cut(self, batch: Batch) -> None:
        """Of this batch and all behind it nothing is left, as after a loss of power."""
        with self.path.open("r+b") as file:
            file.truncate(batch.at)


def _ids(data: bytes) -> list[bytes]:
    batch = MemoryRecords(data).next_batch()
    if batch is None or batch.is_control_batch:
        return []
    packed = b"".join(dict(record.headers).get(IDS_HEADER, b"") for record in batch)
    return [packed[i : i + ID_BYTES] for i in range(0, len(packed), ID_BYTES)]
