"""A dead letter: what could not be taken, why, and where it came from. One JSON object a Kafka record."""

from datetime import datetime

import msgspec
from msgspec import Struct

# A letter has to fit into a record of the topic, also where JSON writes six bytes for one (NUL).
MAX_PAYLOAD_BYTES = 512 * 1024


class Origin(Struct, kw_only=True, omit_defaults=True):
    """Where the payload was found: at the edge (`index` in its batch), or in the log (`line` counts from 0)."""

    service: str
    index: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    line: int | None = None


class DeadLetter(Struct, kw_only=True):
    """`payload` is the event as it came (see `payload_text`); `code` says why it was not taken.

    Whose it is and which event it is say `project_id` and `event_id` (32 hexadecimal digits) alone, never the payload of
    an edge's letter, which a client wrote. Empty where nobody could tell: of the edge's letters the id, of the worker's
    what neither the record nor a readable part of the line says.
    """

    code: str
    message: str
    origin: Origin
    payload: str
    at: datetime
    project_id: str = ""
    event_id: str = ""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def payload_text(payload: bytes) -> str:
    """As much of a payload as a letter can carry, as text: bytes that are no UTF-8 are replaced."""
    return payload[:MAX_PAYLOAD_BYTES].decode(errors="replace")


def decode_dead_letter(value: bytes) -> DeadLetter:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(value, type=DeadLetter)
