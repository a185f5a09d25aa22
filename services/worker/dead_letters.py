"""Dead letters of the worker, and the gate that stops it when too much is bad: a bad deploy of a producer must not
empty the topic into the dead letters."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct
from prometheus_client import Counter

from services.contract.log.dead_letter import DeadLetter, Origin, payload_text
from services.runtime.clock import utc_now

DEAD_LETTERS = Counter("headrace_worker_dead_letters_total", "Lines that could not be stored.", ["code"])
_CODE = "unreadable_line"
DEAD_LETTERS.labels(_CODE)  # at 0: a first one is an increase

_GATE_LINES = 1000


class PoisonFloodError(Exception):
    """Too large a part of what comes in is bad. The records stay in the log; somebody has to look."""


class PoisonGate:
    """Counts good and bad lines over about the last thousand."""

    def __init__(self, max_ratio: float) -> None:
        self._max_ratio = max_ratio
        self._good = 0.0
        self._bad = 0.0

    def count(self, good: int, bad: int) -> None:
        """Raises PoisonFloodError when, with these, more than the allowed part of recent lines is bad."""
        self._good += good
        self._bad += bad
        total = self._good + self._bad
        if self._bad > self._max_ratio * max(total, _GATE_LINES):
            raise PoisonFloodError(
                f"{self._bad:.0f} of the last {total:.0f} lines could not be read (allowed: {self._max_ratio:.0%}). "
                "Nothing was skipped. Find the producer that writes them; to let them pass into the dead letters, "
                "raise HEADRACE_WORKER_DEAD_LETTER_MAX_RATIO and start the worker again."
            )
        if total > _GATE_LINES:
            self._good *= _GATE_LINES / total
            self._bad *= _GATE_LINES / total


class DeadLetterTopic:
    """Writes dead letters through `send`, which takes a record's value and gives its acknowledgement to wait for."""

    def __init__(self, send: Callable[[bytes], Awaitable[Awaitable[object]]]) -> None:
        self._send = send

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Returns after the acknowledgement of all in-sync replicas. Raises KafkaError."""
        for ack in [await self._send(record) for letter in letters for record in letter.records()]:
            await ack
        for letter in letters:
            DEAD_LETTERS.labels(letter.code).inc()


class _Owner(Struct):
    """What of a bad line a letter needs to know."""

    project_id: str = ""
    event_id: str = ""


_decode_owner = msgspec.json.Decoder(_Owner).decode


def dead_letter(line: bytes, reason: str, origin: Origin, line_id: bytes = b"") -> DeadLetter:
    """`line_id`: the id that its record has for the line."""
    try:
        owner = _decode_owner(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        owner = _Owner()
    return DeadLetter(
        code=_CODE,
        message=reason,
        origin=origin,
        payload=payload_text(line),
        at=utc_now(),
        project_id=owner.project_id,
        event_id=line_id.hex() or owner.event_id.replace("-", ""),
    )
