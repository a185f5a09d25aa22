"""The envelope: one Kafka record with many events, one canonical JSON line an event.

Value: newline-terminated JSON lines whose keys are the columns of the events (or identity_log) table, so that the
worker, ClickHouse's own Kafka engine and any other consumer can read them without knowing this module.
Header `ids`: the 16-byte event ids of the lines, in order, so that a consumer can find duplicates without parsing.
Header `traceparent`, in few records: the trace that one of its requests belongs to, as W3C's Trace Context writes it.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
from msgspec import Raw, Struct

IDS_HEADER = "ids"
TRACE_HEADER = "traceparent"
ID_BYTES = 16
# From so many bytes on, numpy counts newlines in less than half of the time.
_LARGE_BYTES = 8 * 1024


class EventLine(Struct, gc=False, omit_defaults=True):
    """One row of the events table. Times are UTC; `properties` is a JSON object on one line. Empty columns are left out.

    `event_id` is 32 hexadecimal digits. `original_timestamp` keeps the time as it was sent, where that is
    another one: too far in the future, or by a clock that was wrong.
    """

    project_id: str
    event_id: str
    event: str
    distinct_id: str
    timestamp: datetime
    received_at: datetime
    properties: Raw
    idempotency_key: str = ""
    original_timestamp: str = ""


class IdentityLine(Struct, kw_only=True):
    """One row of the identity_log table. `distinct_id` is whose `traits` they are; of a group's traits that nobody said
    as a member it is empty.

    | kind     | `old_id`, where it is not empty                                                         |
    |----------|-----------------------------------------------------------------------------------------|
    | identify | (`alias_for`) joins the person of `distinct_id`                                           |
    | alias    | joins the person of `distinct_id`                                                         |
    | link     | an identify with a `user_id`, which is `distinct_id` here: joins its person if the link counts |
    | group    |                                                                                         |
    | unmerge  | of an operator: what was received before about the same two ids is undone                 |
    """

    project_id: str
    event_id: str
    kind: str
    distinct_id: str
    timestamp: datetime
    received_at: datetime
    old_id: str = ""
    user_id: str = ""
    group_type: str = ""
    group_key: str = ""
    traits: Raw = msgspec.field(default_factory=lambda: Raw(b"{}"))
    idempotency_key: str = ""
    set_once: Raw = msgspec.field(default_factory=lambda: Raw(b"{}"))


class Envelope(Struct, frozen=True):
    """`ids` holds 16 bytes a line of `lines`; `lines` ends with a newline. `trace` is as a rule empty."""

    ids: bytes
    lines: bytes
    trace: bytes = b""

    @property
    def count(self) -> int:
        """How many lines."""
        return len(self.ids) // ID_BYTES

    @property
    def size(self) -> int:
        """Bytes of ids and lines."""
        return len(self.ids) + len(self.lines)

    def headers(self) -> list[tuple[str, bytes]]:
        headers = [(IDS_HEADER, self.ids)]
        return [*headers, (TRACE_HEADER, self.trace)] if self.trace else headers


class MalformedEnvelopeError(Exception):
    """A record that is not an envelope: no ids, or as many ids as lines is not what it holds."""


_encoder = msgspec.json.Encoder()


def pack(ids: Sequence[bytes], lines: Sequence[EventLine] | Sequence[IdentityLine]) -> Envelope:
    """Write an envelope of at least one line. No line may contain a raw newline (see `Raw` fields)."""
    return Envelope(b"".join(ids), _encoder.encode_lines(lines))


def merge(envelopes: Sequence[Envelope]) -> Envelope:
    """One envelope with the lines of all, in order, and the first trace among them."""
    if len(envelopes) == 1:
        return envelopes[0]
    trace = next((e.trace for e in envelopes if e.trace), b"")
    return Envelope(b"".join([e.ids for e in envelopes]), b"".join([e.lines for e in envelopes]), trace)


def unpack(value: bytes | None, ids: bytes | None) -> Envelope:
    """Read a record. Raises MalformedEnvelopeError where lines and ids do not agree in number."""
    if not value:
        raise MalformedEnvelopeError("the record is empty")
    if ids is None:
        raise MalformedEnvelopeError("the record has no ids header")
    if not value.endswith(b"\n"):
        value += b"\n"
    lines = _count_newlines(value)
    if len(ids) != lines * ID_BYTES:
        raise MalformedEnvelopeError(f"{lines} lines, but ids for {len(ids) / ID_BYTES:g}")
    return Envelope(ids, value)


def _count_newlines(text: bytes) -> int:
    if len(text) < _LARGE_BYTES:
        return text.count(b"\n")
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))
