"""Records of the log that are no events: where a deletion stands in it, and what workers do at that place.

A deletion is a record of the identity topic, in the order of its project's merges: those before it belong to it, those
behind it do not. It also is the deletion's copy: a worker that reads an old stretch of the log after a restore finds it
there. A mark is a record of each partition of the events topic. Whoever wrote it knows, when its offset is committed, that
everything before it is stored, and that its worker has done what it says.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

# The ids of the partition are as before.
MARK_PLACE = b'{"headrace_mark":"place"}\n'
# Some of the partition's events were deleted, and their keys are free: read its ids from ClickHouse again.
MARK_IDS_CHANGED = b'{"headrace_mark":"ids_changed"}\n'
MARKS = frozenset((MARK_PLACE, MARK_IDS_CHANGED))
_FIRST = b'{"deletion_id":'


class DeletionLine(Struct, kw_only=True):
    """`distinct_id`: any id of the person; of a window empty. The first field tells it from an identity message."""

    deletion_id: str
    project_id: str
    distinct_id: str
    since: datetime
    until: datetime
    requested_at: datetime

    def encode(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


def is_deletion(line: bytes) -> bool:
    return line.startswith(_FIRST)


def decode_deletion(line: bytes) -> DeletionLine:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=DeletionLine)


def identity_partition(project_id: str, partitions: int) -> int:
    """The partition of the identity topic that holds all that is said in a project, in order."""
    return sum(project_id.encode()) % partitions
