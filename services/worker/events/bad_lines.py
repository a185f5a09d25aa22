"""Lines that are no events: found one by one, with the reason, and turned into dead letters."""

import msgspec
import numpy as np
from msgspec import Struct

from services.contract.api.ingest import MAX_EVENT_NAME_CHARS, MAX_ID_CHARS
from services.contract.log.dead_letter import DeadLetter, Origin
from services.contract.log.envelope import ID_BYTES, Envelope, EventLine, MalformedEnvelopeError, unpack
from services.worker.dead_letters import dead_letter
from services.worker.dedupe.ids import Mask
from services.worker.record import Record

_YEARS = range(2000, 2149)
_decode_object = msgspec.json.Decoder().decode
_decode_line = msgspec.json.Decoder(EventLine, strict=True).decode


class Lines(Struct):
    """Lines of a block, each with its id and the place in the log that it came from."""

    lines: list[bytes]
    ids: list[bytes]
    origins: list[Origin]

    def half(self, first: bool) -> "Lines":
        at = len(self.lines) // 2
        part = slice(None, at) if first else slice(at, None)
        return Lines(self.lines[part], self.ids[part], self.origins[part])

    def where(self, mask: Mask) -> "Lines":
        at = np.flatnonzero(mask)
        return Lines([self.lines[i] for i in at], [self.ids[i] for i in at], [self.origins[i] for i in at])


def lines_of(records: list[Record], envelopes: list[Envelope], duplicates: Mask) -> Lines:
    """All lines that are no duplicates."""
    lines = Lines([], [], [])
    at = 0
    for record, envelope in zip(records, envelopes, strict=True):
        for i, line in enumerate(envelope.lines.split(b"\n")[:-1]):
            if not duplicates[at + i]:
                lines.lines.append(line)
                lines.ids.append(envelope.ids[i * ID_BYTES : (i + 1) * ID_BYTES])
                lines.origins.append(_origin(record, i))
        at += envelope.count
    return lines


def unpack_all(records: list[Record]) -> tuple[list[Envelope], list[DeadLetter]]:
    """The records' envelopes; what is none goes by line, so that a foreign producer's good lines are stored."""
    envelopes, bad = [], []
    for record in records:
        try:
            envelopes.append(unpack(record.value, record.ids))
        except MalformedEnvelopeError as error:
            envelope, letters = unpack_foreign(record, str(error))
            envelopes.append(envelope)
            bad += letters
    return envelopes, bad


def unpack_foreign(record: Record, reason: str) -> tuple[Envelope, list[DeadLetter]]:
    """A record without usable ids: its lines are read one by one, and say their ids themselves."""
    ids, lines, bad = [], [], []
    for i, line in enumerate((record.value or b"").rstrip(b"\n").split(b"\n")):
        fault = fault_of(line)
        if fault is None:
            ids.append(bytes.fromhex(_decode_line(line).event_id.replace("-", "")))
            lines.append(line + b"\n")
        else:
            bad.append(dead_letter(line, f"{reason}; {fault}", _origin(record, i)))
    return Envelope(b"".join(ids), b"".join(lines)), bad


def find_bad(lines: Lines) -> tuple[Lines, list[DeadLetter]]:
    """The lines that are events, and dead letters of the others."""
    good, bad = Lines([], [], []), []
    for line, line_id, origin in zip(lines.lines, lines.ids, lines.origins, strict=True):
        reason = fault_of(line)
        if reason is None:
            good.lines.append(line)
            good.ids.append(line_id)
            good.origins.append(origin)
        else:
            bad.append(dead_letter(line, reason, origin, line_id))
    return good, bad


def fault_of(line: bytes) -> str | None:
    """Why a line is no event, or None."""
    try:
        event = _decode_line(line)
        if len(bytes.fromhex(event.event_id.replace("-", ""))) != ID_BYTES:
            return "event_id must have 32 hexadecimal digits"
        if not event.project_id or not event.event or not event.distinct_id:
            return "project_id, event and distinct_id must not be empty"
        if not bytes(event.properties).startswith(b"{"):
            return "properties must be an object"
        if len(event.event) > MAX_EVENT_NAME_CHARS or len(event.distinct_id) > MAX_ID_CHARS:
            return f"event has at most {MAX_EVENT_NAME_CHARS} characters, distinct_id {MAX_ID_CHARS}"
        if "\0" in event.event or "\0" in event.distinct_id:
            return "event and distinct_id must not contain the character NUL"
        # Of other years the store finds no event again.
        if not all(year in _YEARS for year in (event.timestamp.year, event.received_at.year)):
            return f"timestamp and received_at must be of the years {_YEARS[0]} to {_YEARS[-1]}"
        _decode_object(event.properties)  # also its numbers
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return str(error)
    return None


def _origin(record: Record, line: int) -> Origin:
    return Origin(service="worker", topic=record.topic, partition=record.partition, offset=record.offset, line=line)
