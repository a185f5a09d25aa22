"""Track events: from body bytes to canonical lines. Pure: no I/O, no clock.

A clean body is decoded and checked in one pass (`_take_clean`). Any fault in it, however small, sends the body
through the second pass (`_take_each`), which looks at each event on its own, so that a bad event costs only itself
and unknown fields become warnings.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import (
    MAX_BATCH_EVENTS,
    MAX_EVENT_BYTES,
    Batch,
    EventName,
    Id,
    IdempotencyKey,
    TrackEvent,
)
from services.contract.api.validation import invalid_json, invalid_message
from services.contract.log.dead_letter import DeadLetter, Origin, payload_text
from services.contract.log.envelope import EventLine
from services.contract.log.event_ids import fresh_ids, id_of_key, ids_of_keys
from services.edge.intake.json_checks import all_objects, json_object, one_line, refuse_nul
from services.edge.intake.timestamps import are_plain, parse_time, resolve_time

T = TypeVar("T")

_MAX_WARNINGS = 20
# From so many events on, one look at all properties costs less than one look at each.
_LOOK_AT_ALL_FROM = 20
_EVENT_FIELDS = frozenset(TrackEvent.__struct_fields__)


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


class Intake(Struct):
    """What becomes of a body. `ids` are the 16-byte event ids of `lines`, in order."""

    ids: list[bytes] = field(default_factory=list)
    lines: list[EventLine] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def hand_over(self) -> tuple[list[bytes], list[EventLine]]:
        """`ids` and `lines`, which are the caller's then and no longer kept here."""
        given = self.ids, self.lines
        self.ids, self.lines = [], []
        return given


class _LooseEvent(Struct):
    """A track event with unknown fields let through and the timestamp left for later."""

    event: EventName
    distinct_id: Id
    properties: Raw = field(default_factory=Raw)
    timestamp: Raw = field(default_factory=Raw)
    idempotency_key: IdempotencyKey | None = None


_decode_batch = msgspec.json.Decoder(Batch).decode
_decode_events = msgspec.json.Decoder(list[TrackEvent]).decode
_decode_event = msgspec.json.Decoder(TrackEvent).decode
_decode_loose = msgspec.json.Decoder(_LooseEvent).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode


class _NotCleanError(Exception):
    """The second pass has to look at the body."""


def take_batch(body: bytes, project_id: str, now: datetime) -> Intake:
    """`{"events": [...]}`. Raises ApiError when nothing of the body can be taken as a batch."""
    body = one_line(body)
    try:
        return _take_clean(_decode_batch(body).events, body, project_id, now)
    except (msgspec.DecodeError, RecursionError, OverflowError, _NotCleanError):
        return _take_each(*_batch_items(body), project_id, now)


def take_track(body: bytes, project_id: str, now: datetime, header_key: str | None) -> Intake:
    """One event, or an array of 1..1000. `header_key` stands for the missing key of a single event."""
    body = one_line(body)
    if body.lstrip()[:1] == b"[":
        try:
            return _take_clean(_some(_decode_events(body)), body, project_id, now)
        except (msgspec.DecodeError, RecursionError, OverflowError, _NotCleanError):
            return _take_each(_some(_items(body, "")), [], project_id, now)
    try:
        event = _decode_event(body)
        if event.idempotency_key is None:
            event.idempotency_key = header_key
        return _take_clean_one(event, body, project_id, now)
    except (msgspec.DecodeError, RecursionError, OverflowError, _NotCleanError):
        return _take_single(body, project_id, now, header_key)


def _take_clean_one(event: TrackEvent, body: bytes, project_id: str, now: datetime) -> Intake:
    """As `_take_clean`; lists of one event cost more than what is done with it."""
    if len(body) > MAX_EVENT_BYTES or _may_hold_nul(body):
        raise _NotCleanError
    try:
        properties = json_object(event.properties, "properties")
        time, original = resolve_time(event.timestamp, now)
    except ApiError as error:
        raise _NotCleanError from error
    intake = Intake()
    if original:
        _warn_of_future(intake.warnings, None, original)
    _add(intake, event, event.idempotency_key, properties, time, original, project_id, now)
    return intake


def _may_hold_nul(body: bytes) -> bool:
    # A search for one character is ten times as fast as one for six.
    return b"\\" in body and b"\\u0000" in body


def _take_clean(events: Sequence[TrackEvent], body: bytes, project_id: str, now: datetime) -> Intake:
    """All events of a body without a fault; raises _NotCleanError at the first doubt."""
    if len(events) > MAX_BATCH_EVENTS or _may_hold_nul(body):
        raise _NotCleanError
    properties = [event.properties for event in events]
    if len(body) > MAX_EVENT_BYTES and any(len(bytes(p)) > MAX_EVENT_BYTES // 2 for p in properties):
        raise _NotCleanError
    intake = Intake()
    try:
        if len(events) < _LOOK_AT_ALL_FROM or not all_objects(properties):
            properties = [json_object(p, "properties") for p in properties]
        times, originals = _resolve_times([event.timestamp for event in events], now, intake.warnings)
    except ApiError as error:
        raise _NotCleanError from error
    intake.ids = ids_of_keys(project_id, [event.idempotency_key for event in events])
    intake.lines = [
        EventLine(
            project_id,
            event_id.hex(),
            event.event,
            event.distinct_id,
            time,
            now,
            text,
            event.idempotency_key or "",
            original,
        )
        for event, event_id, time, text, original in zip(events, intake.ids, times, properties, originals, strict=True)
    ]
    return intake


def _resolve_times(
    values: list[datetime | int | float | None], now: datetime, warnings: list[str]
) -> tuple[list[datetime], list[str]]:
    """Event times, and beside each the time as sent where it was not believed. Raises ApiError."""
    if are_plain(values, now):
        return values, [""] * len(values)
    resolved = [resolve_time(value, now) for value in values]
    for index, (_, original) in enumerate(resolved):
        if original:
            _warn_of_future(warnings, index, original)
    return [time for time, _ in resolved], [original for _, original in resolved]


def _take_each(items: Sequence[Raw], warnings: list[str], project_id: str, now: datetime) -> Intake:
    """Each event on its own: the bad ones are rejected with their reason, the others taken."""
    if len(items) > MAX_BATCH_EVENTS:
        raise ApiError(
            ErrorCode.BATCH_TOO_LARGE,
            f"{len(items)} events; at most {MAX_BATCH_EVENTS} fit in a batch. Nothing was taken: split it.",
            field="events",
        )
    intake = Intake(warnings=warnings)
    for index, item in enumerate(items):
        text = bytes(item)
        try:
            _take_one(intake, text, project_id, now, index)
        except ApiError as error:
            intake.rejected.append(Rejected(index, error, text))
    return intake


def _take_single(body: bytes, project_id: str, now: datetime, header_key: str | None) -> Intake:
    intake = Intake()
    _take_one(intake, body, project_id, now, None, header_key)
    return intake


def _take_one(
    intake: Intake, text: bytes, project_id: str, now: datetime, index: int | None, header_key: str | None = None
) -> None:
    """Add one event to `intake`. Raises ApiError."""
    if len(text) > MAX_EVENT_BYTES:
        raise ApiError(
            ErrorCode.EVENT_TOO_LARGE,
            f"The event has {len(text)} bytes; at most {MAX_EVENT_BYTES} are taken. Shorten its properties.",
            index=index,
        )
    try:
        unknown = sorted(set(_decode_fields(text)) - _EVENT_FIELDS)
        event = _decode_loose(text)
    except msgspec.ValidationError as error:
        raise invalid_message(error, index=index) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid_json(error) from error
    for name in ("event", "distinct_id", "idempotency_key"):
        refuse_nul(getattr(event, name), name)
    properties = json_object(event.properties, "properties")
    time, original = resolve_time(parse_time(bytes(event.timestamp)), now)
    if original:
        _warn_of_future(intake.warnings, index, original)
    _warn_of_unknown(intake.warnings, unknown)
    _add(intake, event, event.idempotency_key or header_key, properties, time, original, project_id, now)


def _add(
    intake: Intake,
    event: TrackEvent | _LooseEvent,
    key: str | None,
    properties: Raw,
    time: datetime,
    original: str,
    project_id: str,
    now: datetime,
) -> None:
    event_id = fresh_ids(1)[0] if key is None else id_of_key(project_id, key)
    intake.ids.append(event_id)
    intake.lines.append(
        EventLine(
            project_id, event_id.hex(), event.event, event.distinct_id, time, now, properties, key or "", original
        )
    )


def _batch_items(body: bytes) -> tuple[list[Raw], list[str]]:
    """The events of a batch as bytes, and warnings about the fields beside them."""
    try:
        fields = _decode_fields(body)
    except msgspec.ValidationError as error:
        raise invalid_message(error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid_json(error) from error
    if "events" not in fields:
        raise ApiError(ErrorCode.MISSING_FIELD, "`events` is required.", field="events")
    warnings: list[str] = []
    _warn_of_unknown(warnings, sorted(set(fields) - {"events"}))
    return _items(bytes(fields["events"]), "events"), warnings


def _items(text: bytes, name: str) -> list[Raw]:
    try:
        return _decode_items(text)
    except msgspec.ValidationError as error:
        raise invalid_message(error, at=name) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid_json(error) from error


def _some(items: list[T]) -> list[T]:
    if not items:
        raise ApiError(ErrorCode.INVALID_FIELD, "An array of events must hold at least one.")
    return items


def _warn_of_future(warnings: list[str], index: int | None, original: str) -> None:
    place = "" if index is None else f" of event {index}"
    _warn(warnings, f"timestamp{place} is more than 1 h ahead ({original}): the receive time is used")


def _warn_of_unknown(warnings: list[str], names: Iterable[str]) -> None:
    for name in names:
        _warn(warnings, f"unknown field `{name[:100]}` ignored")


def _warn(warnings: list[str], text: str) -> None:
    if len(warnings) < _MAX_WARNINGS and text not in warnings:
        warnings.append(text)
