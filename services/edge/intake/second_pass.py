"""The second pass over a body of track events: looks at each event on its own, so that a bad event costs only itself and
unknown fields become warnings. Pure: no I/O, no clock.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec
from xxhash import xxh3_128_hexdigest

from services.contract.api.encoding import HALVES_REPLACED, plain_text, without_mark
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_BATCH_EVENTS, MAX_EVENT_BYTES, TrackEvent
from services.contract.api.validation import invalid_json, invalid_message
from services.contract.log.event_ids import fresh_ids, id_of_key
from services.contract.placeholders import placeholder_warning
from services.edge.intake.json_checks import json_object, refuse_nul
from services.edge.intake.json_split import (
    TooManyPartsError,
    UnbalancedError,
    split_items,
    split_members,
)
from services.edge.intake.lenient import MAX_FIELDS, Fields, drop_placeholder_key, read_fields
from services.edge.intake.timestamps import read_time, resolve_time
from services.edge.intake.track import (
    MAX_WARNINGS,
    Intake,
    Rejected,
    event_line,
    take_clean_batch,
    take_clean_track,
)

_EVENT_FIELDS = frozenset(TrackEvent.__struct_fields__)
_decode_event = msgspec.json.Decoder(TrackEvent).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder(msgspec.Raw).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def take_batch(body: bytes, project_id: str, now: datetime, header_key: str | None = None) -> Intake:
    """`{"events": [...]}`, in one go. Raises ApiError when nothing of the body can be taken as a batch."""
    clean = take_clean_batch(body, project_id, now, header_key)
    return clean or received(batch_by_event(body, project_id, now, header_key), now)


def take_track(body: bytes, project_id: str, now: datetime, header_key: str | None = None) -> Intake:
    """One event, or an array of 1..1000, in one go. Raises ApiError."""
    clean = take_clean_track(body, project_id, now, header_key)
    return clean or received(track_by_event(body, project_id, now, header_key), now)


def received(intake: Intake, now: datetime) -> Intake:
    intake.receive(now)
    return intake


def batch_by_event(body: bytes, project_id: str, now: datetime, header_key: str | None) -> Intake:
    """Raises ApiError. `now` is what timestamps are compared with; see `Intake.receive`."""
    body = plain_text(body)
    members = _members(_in_brackets(body, b"{"))
    if "events" not in members:
        _members(body, nothing_lost=True)  # it may be there, without its quotes or the comma before it
        raise ApiError(ErrorCode.MISSING_FIELD, "`events` is required.", field="events")
    items = _items(_in_brackets(members["events"], b"[", "events"), body)
    one = _OneByOne(project_id, now, header_key)
    one.warn_of_unknown(sorted(members.keys() - {"events"})[:MAX_WARNINGS])
    return one.take(items)


def track_by_event(body: bytes, project_id: str, now: datetime, header_key: str | None) -> Intake:
    """As `batch_by_event`. The header is the key of a single event as it is."""
    body = plain_text(body)
    one = _OneByOne(project_id, now, header_key)
    if not body.lstrip().startswith(b"["):
        one.take_one(body, None, header_key)
        return one.intake
    items = _items(body, body)
    if not items:
        raise ApiError(ErrorCode.INVALID_FIELD, "An array of events must hold at least one.")
    return one.take(items)


class _OneByOne:
    """Takes events one after the other."""

    def __init__(self, project_id: str, now: datetime, header_key: str | None) -> None:
        self.intake = Intake()
        self._project_id = project_id
        self._now = now
        self._header_key = header_key
        self._equals: Counter[bytes] = Counter()

    def take(self, items: Sequence[bytes]) -> Intake:
        for index, item in enumerate(items):
            try:
                self.take_one(item, index, None)
            except ApiError as error:
                self.intake.rejected.append(Rejected(index, error, item))
        return self.intake

    def take_one(self, text: bytes, index: int | None, key: str | None) -> None:
        """Add one event to the intake; `key` stands for its missing key. Raises ApiError."""
        text = without_mark(text)  # bodies that were put together have one before each
        if len(text) > MAX_EVENT_BYTES:
            raise ApiError(
                ErrorCode.EVENT_TOO_LARGE,
                f"The event has {len(text)} bytes; at most {MAX_EVENT_BYTES} are taken. Shorten its properties.",
                index=index,
            )
        subject = "The body" if index is None else "The event"
        fields = read_fields(text, _EVENT_FIELDS, MAX_WARNINGS - len(self.intake.warnings), subject)
        placeholder = drop_placeholder_key(fields)
        try:
            event = _decode_event(fields.encode())
        except msgspec.ValidationError as error:
            raise invalid_message(error, subject=subject) from error
        for name in ("event", "distinct_id", "idempotency_key"):
            refuse_nul(getattr(event, name), name)
        properties = json_object(event.properties, "properties")
        time, original = resolve_time(read_time(event.timestamp), self._now)
        self._warn(fields, placeholder, original, index)
        key = event.idempotency_key or key or self._key_of_bytes(text, index)
        event_id = fresh_ids(1)[0] if key is None else id_of_key(self._project_id, key)
        self.intake.ids.append(event_id)
        self.intake.lines.append(
            event_line(event, event_id, key, properties, time, original, self._project_id, self._now)
        )

    def _key_of_bytes(self, text: bytes, index: int | None) -> str | None:
        """Of the header, the event's bytes, and its ordinal among equal ones: the same however often they are sent."""
        if self._header_key is None or index is None:
            return None
        self._equals[text] += 1
        return xxh3_128_hexdigest(b"%b\0%b\0%d" % (self._header_key.encode(), text, self._equals[text]))

    def _warn(self, fields: Fields, placeholder: str | None, original: str, index: int | None) -> None:
        place = "" if index is None else f" of event {index}"
        if original:
            self.intake.warn_of_future(index, original)
        if fields.replaced:
            self.intake.warn(HALVES_REPLACED.format(place=place))
        if placeholder is not None:
            self.intake.warn(placeholder_warning(placeholder, place))
        self.warn_of_unknown(fields.unknown)

    def warn_of_unknown(self, names: Sequence[str]) -> None:
        for name in names:
            self.intake.warn(f"unknown field `{name[:100]}` ignored")


def _members(body: bytes, *, nothing_lost: bool = False) -> dict[str, bytes]:
    try:
        return split_members(body, MAX_FIELDS, nothing_lost=nothing_lost)
    except UnbalancedError as error:
        raise _why(body) from error
    except TooManyPartsError as error:
        raise ApiError(
            ErrorCode.INVALID_FIELD, f"The body has more than {MAX_FIELDS} fields. Send `events` alone."
        ) from error


def _items(text: bytes, body: bytes) -> list[bytes]:
    """The events in an array that is the body, or a part of it."""
    try:
        return split_items(text, MAX_BATCH_EVENTS)
    except UnbalancedError as error:
        raise _why(body) from error
    except TooManyPartsError as error:
        raise ApiError(
            ErrorCode.BATCH_TOO_LARGE,
            f"There are more than {MAX_BATCH_EVENTS} events; at most {MAX_BATCH_EVENTS} fit in a batch. "
            "Nothing was taken: split it.",
            field="events",
        ) from error


def _in_brackets(text: bytes, bracket: bytes, name: str = "") -> bytes:
    """The text, where it begins as an object or array should. Raises ApiError."""
    if text.lstrip().startswith(bracket):
        return text
    try:
        text.decode()
        (_decode_object if bracket == b"{" else _decode_array)(text)
    except msgspec.ValidationError as error:
        raise invalid_message(error, at=name) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_json(error) from error
    raise _why(text)


def _why(text: bytes) -> ApiError:
    """What the decoder has against a text whose brackets and quotes do not match."""
    try:
        text.decode()
        _decode_any(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return invalid_json(error)
    return ApiError(ErrorCode.INVALID_JSON, "The body is not valid JSON: its brackets and quotes do not match.")
