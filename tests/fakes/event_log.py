"""An event log in memory: the twin of KafkaEventLog for tests of what stands above a log."""

from collections.abc import Sequence

import msgspec

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import Envelope, EventLine, IdentityLine, merge, pack, unpack
from services.contract.log.topics import MAX_RECORD_BYTES
from services.edge.event_log.port import LogUnavailableError, Packed

# What services/runtime/kafka.py lets a producer send and a topic keep.
_LARGEST_RECORD_BYTES = 2 * MAX_RECORD_BYTES


class MemoryEventLog:
    """Keeps what it acknowledges, as records. While `available` is off it refuses and keeps nothing.

    Refuses what Kafka would refuse for ever: a record that is too large. Raises MalformedEnvelopeError for lines that
    no consumer could tell apart.
    """

    def __init__(self) -> None:
        self.available = True
        self.dead_letters: list[DeadLetter] = []
        self._events: list[Envelope] = []
        self._identity: list[Envelope] = []

    def clear(self) -> None:
        """Forget what was acknowledged."""
        self.dead_letters, self._events, self._identity = [], [], []

    @property
    def events(self) -> Envelope:
        """All events so far, as one envelope."""
        return merge(self._events)

    @property
    def event_lines(self) -> list[bytes]:
        return self.events.lines.split(b"\n")[:-1]

    @property
    def identity_lines(self) -> list[bytes]:
        return merge(self._identity).lines.split(b"\n")[:-1]

    async def append_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> None:
        await self.append_packed(self.pack_events(ids, lines))

    def pack_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> Packed:
        return [("events", 0, self._record(ids, lines))]

    async def append_packed(self, records: Packed) -> None:
        self._refuse_if_away()
        self._events += [envelope for _, _, envelope in records]

    async def append_identity(self, ids: Sequence[bytes], lines: Sequence[IdentityLine]) -> None:
        self._identity.append(self._record(ids, lines))

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        self._refuse_if_away()
        for letter in letters:
            for record in letter.records():
                self._refuse_if_large(record)
        self.dead_letters += letters

    async def is_ready(self) -> bool:
        return self.available

    def _record(self, ids: Sequence[bytes], lines: Sequence[EventLine] | Sequence[IdentityLine]) -> Envelope:
        self._refuse_if_away()
        for line in lines:
            self._refuse_if_large(msgspec.json.encode(line))
        envelope = pack(ids, lines)
        return unpack(envelope.lines, envelope.ids)

    def _refuse_if_away(self) -> None:
        if not self.available:
            raise LogUnavailableError("the memory log is switched off")

    def _refuse_if_large(self, value: bytes) -> None:
        if len(value) > _LARGEST_RECORD_BYTES:
            raise LogUnavailableError(f"a record of {len(value)} bytes is too large")
