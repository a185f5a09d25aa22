"""What becomes of a request of an SDK: our own messages, ready for the log, with the checks that native calls make."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from xxhash import xxh3_128_digest, xxh3_128_hexdigest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import (
    MAX_BODY_BYTES,
    MAX_EVENT_BYTES,
    MAX_EVENT_NAME_CHARS,
    MAX_ID_CHARS,
    MAX_IDEMPOTENCY_KEY_CHARS,
    MAX_NESTING_LEVELS,
)
from services.contract.api.validation import invalid_json
from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import EventLine, IdentityLine
from services.contract.log.event_ids import fresh_ids, ids_of_keys, project_prefix
from services.contract.placeholders import is_placeholder_id, is_placeholder_key
from services.contract.repeated_names import first_members
from services.edge.intake.identity import IdentityIntake, take_alias, take_group, take_group_traits, take_identify
from services.edge.intake.json_checks import EMPTY_OBJECT, json_object, may_hold_large_number
from services.edge.intake.timestamps import resolve_time
from services.edge.intake.track import Rejected, letter_of_line
from services.edge.protocols.messages import FAULTS, MAX_MESSAGES, Messages, Payload

M = TypeVar("M", bound=Struct)
_STEP = timedelta(microseconds=1)
_STEPS = [timedelta(microseconds=i) for i in range(MAX_MESSAGES)]
# What a message of ours costs beside its text: it is a line in the log.
LINE_BYTES = 2048
encode = msgspec.json.Encoder().encode


class PlainEvents(Struct):
    """By columns. Names, ids and keys are of legal length, properties are objects of legal depth and size."""

    names: list[str]
    distinct_ids: list[str]
    properties: list[bytes]
    times: list[datetime]
    keys: list[str]


class Taken:
    """Collects the messages of one request. Messages are received one microsecond after the other, from `now` on.

    `lost` counts by kind what our messages cannot hold. `messages` counts those of the SDK of which something was taken.
    """

    def __init__(self, project_id: str, now: datetime, body: bytes) -> None:
        self.project_id = project_id
        self.event_ids: list[bytes] = []
        self.events: list[EventLine] = []
        self.identity_ids: list[bytes] = []
        self.identity: list[IdentityLine] = []
        self.rejected: list[Rejected] = []
        self.aside: list[DeadLetter] = []
        self.lost: Counter[str] = Counter()
        self.messages = 0
        self._now = self._next = now
        self._prefix = project_prefix(project_id)
        self._repeated_bytes = 0
        # One look at the whole body costs less than one at each message of it.
        self._may_hold_large = may_hold_large_number(body)
        self._may_hold_nul = b"\\" in body and b"\\u0000" in body

    @property
    def now(self) -> datetime:
        """When the request was received."""
        return self._now

    @property
    def lines(self) -> int:
        """How many receive times were given."""
        return (self._next - self._now) // _STEP

    def receive(self, now: datetime) -> None:
        """Let everything be received at `now` and after: for a body that was worked on for a while."""
        later = now - self._now
        lines: list[EventLine | IdentityLine] = [*self.events, *self.identity]
        for line in lines:
            had_none = line.timestamp is line.received_at
            line.received_at += later
            if had_none:
                line.timestamp = line.received_at
        self._now, self._next = now, self._next + later

    def each(self, messages: Messages[M], add: Callable[[M, Payload], None], taken: Collection[int] = ()) -> None:
        """Let `add` translate each message but those at the places that are `taken`; what it raises rejects that one
        alone."""
        for index, message in enumerate(messages.items):
            if index in taken:
                continue
            self._next = max(self._next, self._now + _STEPS[index])  # in the order of the request
            if isinstance(message, ApiError):
                self.reject(message, messages.payload(index))
                continue
            payload = messages.payload(index)
            before = len(self.events), len(self.identity), len(self.rejected)
            try:
                add(message, payload)
            except ApiError as error:
                self._give_back(*before)
                self.reject(error, payload)
            except FAULTS as error:
                self._give_back(*before)
                self.reject(invalid_json(error, "The message"), payload)
            else:
                self.messages += 1
        self._next = max(self._next, self._now + len(messages.items) * _STEP)
        if messages.unknown:
            self.lost["unknown_field"] += len(messages.unknown)

    def _give_back(self, events: int, identity: int, rejected: int) -> None:
        """Keep so many: a message is taken or one dead letter, never an event whose traits alone were refused, nor another
        letter for its link. Each letter could be put back, and the event were there twice."""
        del self.events[events:], self.event_ids[events:]
        del self.identity[identity:], self.identity_ids[identity:]
        del self.rejected[rejected:]

    def reject(self, error: ApiError, payload: Payload) -> None:
        self.rejected.append(Rejected(payload.index, error, payload.text))

    def put_events_aside(self, error: ApiError) -> None:
        """Events that are right, and are not to be stored now. A dead letter has the event's own id: put back, it is the
        event that a resend would be. Messages about people stay: they come once, and their order matters."""
        self.messages -= len(self.events)
        self.aside = [letter_of_line(line, error) for line in self.events]
        self.events, self.event_ids = [], []

    def repeat(self, size: int) -> None:
        """What the request says once takes so many bytes more, because we say it with several messages. Raises ApiError
        where all of it is more than a body may have: a small request would take all memory."""
        self._repeated_bytes += size
        if self._repeated_bytes > MAX_BODY_BYTES:
            raise ApiError(
                ErrorCode.EVENT_TOO_LARGE,
                "The request says something once for so many messages that it comes to more than "
                f"{MAX_BODY_BYTES} bytes. Shorten it, or send fewer messages at once.",
            )

    # --- Messages. Each raises ApiError, and takes nothing then. ---

    def event(
        self, name: str, distinct_id: str, properties: bytes, time: datetime | None, key: str | None, sent: str = ""
    ) -> None:
        """`properties`: an object whose parts were checked by `object_of`. `sent`: the time as sent, where it is another."""
        _check(name, "event", MAX_EVENT_NAME_CHARS)
        _check(distinct_id, "distinct_id", MAX_ID_CHARS)
        if len(properties) > MAX_EVENT_BYTES:
            raise ApiError(
                ErrorCode.EVENT_TOO_LARGE,
                f"The event has {len(properties)} bytes; at most {MAX_EVENT_BYTES} are taken. Shorten its properties.",
            )
        received = self._next
        time, original = resolve_time(time, received)
        event_id = fresh_ids(1)[0] if key is None else xxh3_128_digest(self._prefix + key.encode())
        self.event_ids.append(event_id)
        self.events.append(
            EventLine(
                self.project_id,
                event_id.hex(),
                name,
                distinct_id,
                time,
                received,
                Raw(properties),
                key or "",
                sent or original,
            )
        )
        self._next = received + _STEP

    @property
    def may_hold_odd(self) -> bool:
        """Whether a number in the body may be beyond doubles, or a text have a NUL. If not, `plain_events` can be used."""
        return self._may_hold_large or self._may_hold_nul

    def plain_events(self, places: Collection[int], events: PlainEvents) -> None:
        """Events that need no closer look, all at once. `places`: in the request."""
        ids = ids_of_keys(self.project_id, events.keys)
        project_id, now = self.project_id, self._now
        self.event_ids += ids
        self.events += [
            EventLine(project_id, event_id.hex(), name, distinct_id, time, now + _STEPS[place], Raw(text), key)
            for place, event_id, name, distinct_id, time, text, key in zip(
                places,
                ids,
                events.names,
                events.distinct_ids,
                events.times,
                events.properties,
                events.keys,
                strict=True,
            )
        ]
        self.messages += len(ids)

    def identify(
        self,
        distinct_id: str,
        user_id: str | None,
        traits: bytes,
        time: datetime | None,
        key: str | None,
        *,
        payload: Payload,
        set_once: bytes = b"{}",
    ) -> None:
        """A link where `user_id` is another id. Of a placeholder the traits are taken, and the link is refused."""
        if user_id is not None and user_id != distinct_id:
            placeholder = next((one for one in (distinct_id, user_id) if is_placeholder_id(one)), None)
            if placeholder is not None:
                self._refuse_link(placeholder, payload)
                distinct_id, user_id = user_id if placeholder == distinct_id else distinct_id, None
        fields = _with_time({"distinct_id": distinct_id, "traits": Raw(traits), "set_once": Raw(set_once)}, time, key)
        if user_id is not None:
            fields["user_id"] = user_id
        self._add(take_identify(encode(fields), self.project_id, self._next, None))

    def alias(self, old_id: str, new_id: str, key: str | None) -> None:
        """An unconditional merge; nothing where both are the same."""
        fields = _with_time({"old_id": old_id, "new_id": new_id}, None, key)
        self._add(take_alias(encode(fields), self.project_id, self._next, None))

    def group(
        self,
        distinct_id: str | None,
        group_type: str,
        group_key: str,
        traits: bytes,
        time: datetime | None,
        key: str | None,
        *,
        set_once: bytes = b"{}",
    ) -> None:
        """Without a `distinct_id` it is about the group alone."""
        own = {"group_type": group_type, "group_key": group_key, "traits": Raw(traits), "set_once": Raw(set_once)}
        fields = _with_time(own, time, key)
        if distinct_id is None:
            self._add(take_group_traits(encode(fields), self.project_id, self._next, None))
        else:
            fields["distinct_id"] = distinct_id
            self._add(take_group(encode(fields), self.project_id, self._next, None))

    def _add(self, intake: IdentityIntake) -> None:
        self.identity_ids += intake.ids
        self.identity += intake.lines
        self._next += _STEP

    def _refuse_link(self, placeholder: str, payload: Payload) -> None:
        message = f"the id `{placeholder[:50]}` is a placeholder: linking it would make one person of many"
        self.reject(ApiError(ErrorCode.ILLEGAL_ID, message), payload)

    # --- Checks ---

    def object_of(self, value: Raw, name: str) -> bytes:
        """The object as it is, `{}` for none. Raises ApiError for what is no object, too deep, or no number."""
        text = bytes(value)
        if text[:1] == b"[" and not text[1:-1].strip():
            return b"{}"  # how PHP writes an object that has nothing in it
        if text[:1] != b"{" or self._may_hold_large or text.count(b"{") + text.count(b"[") > MAX_NESTING_LEVELS:
            return bytes(json_object(value, name))
        return text

    def unset_of(self, value: Raw, name: str) -> bytes:
        """The names in a list or an object as traits that are removed, `{}` for none. Raises ApiError for what is neither."""
        names = msgspec.json.decode(value) if value else None
        if not isinstance(names, list | dict | None):
            raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}`: expected a list of names.", field=name)
        return encode({str(one): None for one in names or ()})

    def key_of(self, key: str | None) -> str | None:
        """Any text as an idempotency key. What only broken clients send counts as none; a long one is hashed."""
        if not key or "\0" in key:
            return None
        if is_placeholder_key(key):
            self.lost["placeholder_key"] += 1
            return None
        return key if len(key) <= MAX_IDEMPOTENCY_KEY_CHARS else xxh3_128_hexdigest(key.encode())


def with_members(properties: bytes, members: Iterable[bytes]) -> bytes:
    """The object with these members (`"name":value`) behind its own."""
    added = b",".join(members)
    if not added:
        return properties
    if properties[-2:-1] in b"{ \t\r" and not properties[1:-1].strip():
        return b"{" + added + b"}"
    return properties[:-1] + b"," + added + b"}"


def merged(first: bytes, second: bytes) -> bytes:
    """One object with the members of both; the second's count."""
    if second == EMPTY_OBJECT:
        return first
    if first == EMPTY_OBJECT:
        return second
    return encode({**first_members(first), **first_members(second)})


def _with_time(fields: dict[str, Any], time: datetime | None, key: str | None) -> dict[str, Any]:
    if time is not None:
        fields["timestamp"] = time
    if key is not None:
        fields["idempotency_key"] = key
    return fields


def _check(text: str, name: str, most: int) -> None:
    if not text:
        raise ApiError(ErrorCode.MISSING_FIELD, f"`{name}` is required.", field=name)
    if len(text) > most:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}`: at most {most} characters are taken.", field=name)
    if "\0" in text:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}` must not contain the character NUL.", field=name)
