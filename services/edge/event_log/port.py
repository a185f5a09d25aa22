"""What the edge needs of an event log."""

from collections.abc import Sequence
from typing import Protocol

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import Envelope, EventLine, IdentityLine

# Topic, partition, record.
Packed = Sequence[tuple[str, int, Envelope]]


class LogUnavailableError(Exception):
    """The log did not acknowledge in time or cannot take more now. What was sent may still arrive: a duplicate under
    the same idempotency key is safe."""


class EventLog(Protocol):
    """Every append returns only after the log's acknowledgement, and raises LogUnavailableError otherwise."""

    async def append_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> None:
        """Append events; `ids` are the 16-byte event ids of `lines`, in order. Lets go of both before it waits."""

    def pack_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> Packed:
        """Events as records, for `append_packed`: it can be tried again without the lines. Raises LogUnavailableError where
        the log has never answered."""

    async def append_packed(self, records: Packed) -> None:
        """Append what `pack_events` made."""

    async def append_identity(self, ids: Sequence[bytes], lines: Sequence[IdentityLine]) -> None:
        """Append identity messages of one project, all or none; a project's are kept in order. `ids` as above."""

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Append what was rejected."""

    async def is_ready(self) -> bool:
        """Whether the log answers now. Says nothing about the next append."""
