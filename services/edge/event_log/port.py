"""What the edge needs of an event log."""

from collections.abc import Sequence
from typing import Protocol

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import EventLine, IdentityLine


class LogUnavailableError(Exception):
    """The log did not acknowledge in time or cannot take more now. What was sent may still arrive: a duplicate under
    the same idempotency key is safe."""


class EventLog(Protocol):
    """Every method returns only after the log's acknowledgement, and raises LogUnavailableError otherwise."""

    async def append_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> None:
        """Append events; `ids` are the 16-byte event ids of `lines`, in order. Lets go of both before it waits."""

    async def append_identity(self, ids: Sequence[bytes], lines: Sequence[IdentityLine]) -> None:
        """Append identity messages of one project, all or none; a project's are kept in order. `ids` as above."""

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Append what was rejected."""

    async def is_ready(self) -> bool:
        """Whether the log answers now. Says nothing about the next append."""
