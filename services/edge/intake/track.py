"""Track events: from body bytes to canonical lines. Pure: no I/O, no clock.

A clean body is decoded and checked in one pass (`take_clean_batch`, `take_clean_track`). Any fault in it, however
small, sends the body through the second pass (second_pass.py), which looks at each event on its own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.errors import ApiError
from services.contract.api.ingest import (
    MAX_BATCH_EVENTS,
    MAX_EVENT_BYTES,
    MAX_EVENT_NAME_CHARS,
    MAX_ID_CHARS,
    MAX_IDEMPOTENCY_KEY_CHARS,
    Batch,
    TrackEvent,
)
from services.contract.log.dead_letter import DeadLetter, Origin, payload_text
from services.contract.log.envelope import EventLine
from services.contract.log.event_ids import fresh_ids, id_of_key, ids_of_keys
from services.contract.placeholders import FIRST_OF_KEYS, is_placeholder_key
from services.edge.intake.json_checks import BACKSLASH, all_objects, json_object, may_hold_large_number, one_line
from services.edge.intake.timestamps import read_plain_times, read_time, resolve_time

MAX_WARNINGS = 20
# From so many events on, one look at all properties costs less than one look at each.
_LOOK_AT_ALL_FROM = 20
# Of what an event may have beside its name and its ids: so much is its properties, so much the rest.
_HALF_EVENT_BYTES = (MAX_EVENT_BYTES - MAX_EVENT_NAME_CHARS - MAX_ID_CHARS - MAX_IDEMPOTENCY_KEY_CHARS) // 2
# A body with fewer objects, or fewer bytes, holds so few events that decoding them before they are counted is cheap.
_COUNT_FROM_BYTES = 512 * 1024
_COUNT_FROM_OBJECTS = 16_000
# Received one after the other, a microsecond apart: so the order of a batch is kept.
STEPS = [timedelta(microseconds=i) for i in range(MAX_BATCH_EVENTS)]

_first = itemgetter(0)
_decode_batch = msgspec.json.Decoder(Batch).decode
_decode_events = msgspec.json.Decoder(list[TrackEvent]).decode
_decode_event = msgspec.json.Decoder(TrackEvent).decode
# What the decoder says of a body that is not clean.
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ApiError)


class Rejected(Struct, frozen=True):
    """An event that was not taken: its place in the batch, why, and its bytes."""

    index: int
    error: ApiError
    payload: bytes

    def dead_letter(self, project_id: str, now: datetime) -> DeadLetter:
        return DeadLetter(
            code=self.error.code.code,
            message=self.error.message,
            origin=Origin(service="edge", index=self.index),
            payload=payload_text(self.payload),
            at=now,
            project_id=project_id,
        )


def body_of_line(line: EventLine) -> bytes:
    """The line as the API takes events."""
    event = {
        "event": line.event,
        "distinct_id": line.distinct_id,
        "timestamp": line.timestamp,
        "properties": Raw(bytes(line.properties)),
        "idempotency_key": line.idempotency_key or None,
    }
    return msgspec.json.encode(event)


def letter_of_line(line: EventLine, error: ApiError) -> DeadLetter:
    """Of an event that is right, and is not to be stored for another reason."""
    return DeadLetter(
        code=error.code.code,
        message=error.message,
        origin=Origin(service="edge"),
        payload=payload_text(body_of_line(line)),
        at=line.received_at,
        project_id=line.project_id,
        event_id=line.event_id,
    )


class Intake(Struct):
    """What becomes of a body. `ids` are the 16-byte event ids of `lines`, in order; the lines are received one
    microsecond after the other."""

    ids: list[bytes] = field(default_factory=list)
    lines: list[EventLine] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def hand_over(self) -> tuple[list[bytes], list[EventLine]]:
        """`ids` and `lines`, which are the caller's then and no longer kept here."""
        given = self.ids, self.lines
        self.ids, self.lines = [], []
        return given

    def receive(self, now: datetime) -> None:
        """Let the lines be received at `now` and each a microsecond after the one before. What has no time of its own has
        the receive time."""
        for line, step in zip(self.lines, STEPS, strict=False):
            if line.timestamp is line.received_at:
                line.timestamp = now + step
            line.received_at = now + step

    def warn(self, text: str) -> None:
        """Said once, and not too much of it."""
        if len(self.warnings) < MAX_WARNINGS and text not in self.warnings:
            self.warnings.append(text)

    def warn_of_future(self, index: int | None, original: str) -> None:
        place = "" if index is None else f" of event {index}"
        self.warn(f"timestamp{place} is more than 1 h ahead ({original}): the receive time is used")


def take_clean_batch(body: bytes, project_id: str, now: datetime, header_key: str | None) -> Intake | None:
    """`{"events": [...]}` without a fault; None where the second pass has to look at it. The first event is received at
    `now`. `header_key` is a reason for the second pass where an event has no key of its own."""
    try:
        if _may_hold_many(body):
            return None
        return _take_clean(_decode_batch(one_line(body)).events, body, project_id, now, header_key)
    except _FAULTS:
        return None


def take_clean_track(body: bytes, project_id: str, now: datetime, header_key: str | None) -> Intake | None:
    """One event, or an array of 1..1000, as `take_clean_batch`. `header_key` stands for the missing key of a single
    event."""
    try:
        if body.lstrip().startswith(b"["):
            if _may_hold_many(body):
                return None
            events = _decode_events(one_line(body))
            return _take_clean(events, body, project_id, now, header_key) if events else None
        return _take_clean_one(_decode_event(one_line(body)), body, project_id, now, header_key)
    except _FAULTS:
        return None


def event_line(
    event: TrackEvent,
    event_id: bytes,
    key: str | None,
    properties: Raw,
    time: datetime,
    original: str,
    project_id: str,
    now: datetime,
) -> EventLine:
    return EventLine(
        project_id, event_id.hex(), event.event, event.distinct_id, time, now, properties, key or "", original
    )


def _take_clean_one(
    event: TrackEvent, body: bytes, project_id: str, now: datetime, header_key: str | None
) -> Intake | None:
    """As `_take_clean`; lists of one event cost more than what is done with it."""
    key = event.idempotency_key or header_key
    if len(body) > MAX_EVENT_BYTES or _may_hold_nul(body):
        return None
    if key is not None and is_placeholder_key(key):
        return None
    properties = json_object(event.properties, "properties")
    time, original = resolve_time(read_time(event.timestamp), now)
    event_id = fresh_ids(1)[0] if key is None else id_of_key(project_id, key)
    line = event_line(event, event_id, key, properties, time, original, project_id, now)
    intake = Intake([event_id], [line], [], [])
    if original:
        intake.warn_of_future(None, original)
    return intake


def _take_clean(
    events: Sequence[TrackEvent], body: bytes, project_id: str, now: datetime, header_key: str | None
) -> Intake | None:
    """All events of a body without a fault; None at the first doubt, or what the checks raise."""
    if len(events) > MAX_BATCH_EVENTS or _may_hold_nul(body):
        return None
    properties = [event.properties for event in events]
    joined = b"\n".join(properties)
    if len(body) > MAX_EVENT_BYTES and _may_hold_large_event(len(body) - len(joined), events, properties):
        return None
    if may_hold_large_number(joined):
        return None
    if len(events) < _LOOK_AT_ALL_FROM or not all_objects(properties, joined):
        properties = [json_object(p, "properties") for p in properties]
    keys = [event.idempotency_key for event in events]
    if not _are_keys(keys) or (header_key is not None and None in keys):
        return None
    intake = Intake(ids_of_keys(project_id, keys))
    values = [event.timestamp for event in events]
    times = read_plain_times(values, now) if values else []
    resolved = None if times is not None else [resolve_time(read_time(value), now) for value in values]
    intake.lines = [
        EventLine(project_id, event_id.hex(), event.event, event.distinct_id, time, now + step, text, key or "")
        for event, event_id, time, step, text, key in zip(
            events, intake.ids, times or [time for time, _ in resolved or []], STEPS, properties, keys, strict=False
        )
    ]
    for index, (time, original) in enumerate(resolved or []):
        line = intake.lines[index]
        if time is now:
            line.timestamp = line.received_at
        if original:
            line.original_timestamp = original
            intake.warn_of_future(index, original)
    return intake


def _may_hold_large_event(rest: int, events: Sequence[TrackEvent], properties: Sequence[Raw]) -> bool:
    """Whether one of them may have too many bytes: in its properties, or in blanks, its time, and what stands twice, which
    are `rest` bytes of all together."""
    if rest > _HALF_EVENT_BYTES:  # of a thousand events names and ids may be as much
        rest -= sum(len(event.event) + len(event.distinct_id) + len(event.idempotency_key or "") for event in events)
    return max(rest, *map(len, properties)) > _HALF_EVENT_BYTES


def _are_keys(keys: Sequence[str | None]) -> bool:
    """Whether none of them is a placeholder."""
    try:
        if FIRST_OF_KEYS.issuperset(map(_first, keys)):  # type: ignore[arg-type]
            return True
    except TypeError:  # None has no first character
        pass
    return not any(key is not None and is_placeholder_key(key) for key in keys)


def _may_hold_many(body: bytes) -> bool:
    """Whether so many events may be in the body that they have to be counted before they are decoded."""
    return len(body) > _COUNT_FROM_BYTES and body.count(b"{") > _COUNT_FROM_OBJECTS


def _may_hold_nul(body: bytes) -> bool:
    # A search for one character is ten times as fast as one for six.
    return BACKSLASH in body and b"\\u0000" in body
