"""Amplitude: events of HTTP V2 and of its batch call, the forms of its older browser SDK (amplitude-js), and those of
HTTP V1, which SDKs of others send."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.repeated_names import first_members
from services.edge.intake.lenient import MAX_UNKNOWN, mended, read_fields
from services.edge.protocols.family import (
    Answer,
    Family,
    Incoming,
    Parsed,
    corrected,
    json_answer,
    none_valid,
    text_of_id,
    time_of,
    time_or_none,
)
from services.edge.protocols.forms import form_of
from services.edge.protocols.messages import (
    FAULTS,
    Messages,
    Payload,
    list_messages,
    members_of,
    read_envelope,
    read_list,
    read_one,
    text_of,
)
from services.edge.protocols.posthog import has_events
from services.edge.protocols.taken import LINE_BYTES, Taken, encode, with_members
from services.edge.protocols.text_keys import TextKeys, is_exact, is_id

_Id = str | int | float | None
_NO_OBJECT = frozenset([b"", b"null", b"{}"])
# What of an event describes the device and the place: one property with all of it.
_CONTEXT = [
    "session_id",
    "event_id",
    "app_version",
    "version_name",
    "platform",
    "os_name",
    "os_version",
    "device_brand",
    "device_manufacturer",
    "device_model",
    "device_type",
    "carrier",
    "country",
    "region",
    "city",
    "dma",
    "language",
    "location_lat",
    "location_lng",
    "ip",
    "idfa",
    "idfv",
    "adid",
    "android_id",
    "app_set_id",
    "android_app_set_id",
    "library",
    "user_agent",
    "start_version",
    "api_properties",
    "sequence_number",
]
# What was paid, as properties of the event.
_REVENUE = [
    "price",
    "quantity",
    "revenue",
    "productId",
    "product_id",
    "revenueType",
    "revenue_type",
    "currency",
    "receipt",
    "receiptSig",
]
# Forms of HTTP V1: the field, and what kind of event is in it where that does not say so itself.
_V1 = {
    "/httpapi": (b"event", ""),
    "/identify": (b"identification", "$identify"),
    "/groupidentify": (b"identification", "$groupidentify"),
}
_LOST = frozenset(["plan", "ingestion_metadata", "partner_id", "extra"])


class _Event(Struct, gc=False):
    """The other fields are looked for by name, see `_Translation`."""

    event_type: str = ""
    user_id: _Id = None
    device_id: _Id = None
    time: Raw = field(default_factory=Raw)
    insert_id: _Id = None
    event_properties: Raw = field(default_factory=Raw)
    user_properties: Raw = field(default_factory=Raw)
    groups: Raw = field(default_factory=Raw)
    group_properties: Raw = field(default_factory=Raw)


class _FormEvent(_Event):
    """As amplitude-js names it."""

    time: Raw = field(default_factory=Raw, name="timestamp")
    insert_id: _Id = field(default=None, name="uuid")


class _GroupOfV1(_Event):
    """One group, or several of one type, where other calls say `groups`."""

    group_type: _Id = None
    group_value: Raw = field(default_factory=Raw)


class _Batch(Struct):
    events: list[_Event]
    api_key: str | None = None
    client_upload_time: Raw = field(default_factory=Raw)


class _Envelope(Struct):
    api_key: str | None = None
    client_upload_time: Raw = field(default_factory=Raw)


class _Form(_Envelope):
    """What amplitude-js says beside its events."""


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any = msgspec.json.decode
# What Java's SDK looks for in a 429; without the first it throws the events away. Nobody alone is over a limit here.
_NOBODY_THROTTLED: dict[str, Any] = {
    "eps_threshold": 0,
    "throttled_devices": {},
    "throttled_users": {},
    "throttled_events": [],
}
_KNOWN = frozenset([*_Event.__struct_fields__, *_CONTEXT, *_REVENUE, *_LOST])
_KNOWN_OF = {kind: _KNOWN.union(kind.__struct_encode_fields__) for kind in (_Event, _FormEvent, _GroupOfV1)}


class Amplitude(Family):
    """The SDKs read `code` in the body. A 400 without lists of bad events makes them send all again."""

    name = "amplitude"

    def is_its(self, incoming: Incoming) -> bool:
        return incoming.path != "/batch" or has_events(incoming.data)

    def parse(self, incoming: Incoming) -> Parsed:
        field, kind = _V1.get(incoming.path, (b"e", ""))
        form = form_of(incoming.data, field)
        if form is not None:
            return _parsed_form(form) if incoming.path not in _V1 else _parsed_v1(form, field.decode(), kind)
        text, at_once = text_of(incoming.data)
        if at_once:
            try:
                body = _decode_batch(text)
            except FAULTS:
                pass
            else:
                return Parsed(list_messages(body.events, text, "events"), body, body.api_key, text)
        members = members_of(text)
        if "events" not in members:
            raise ApiError(ErrorCode.MISSING_FIELD, "`events` is required.", field="events")
        envelope = read_envelope(members, _Envelope)
        return Parsed(read_list(members["events"], _Event), envelope, envelope.api_key, text)

    def take(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> None:
        translation = _Translation(taken, parsed, self.request_members(incoming))
        parsed.messages.unknown.clear()  # they are looked at with the event
        taken.each(parsed.messages, translation.add)

    def answer(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        if isinstance(parsed.envelope, _Form) or incoming.path in _V1:
            return Answer(200, b"success", "text/plain")
        body = {
            "code": 200,
            "events_ingested": taken.messages,
            "payload_size_bytes": len(incoming.data),
            "server_upload_time": int(taken.now.timestamp() * 1000),
        }
        return json_answer(body)

    def nothing_valid(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        if isinstance(parsed.envelope, _Form):  # it sends the first of its queue again until there is a 200
            return self.answer(incoming, parsed, taken)
        indexes = [rejected.index for rejected in taken.rejected]
        body = {"code": 400, "error": none_valid(taken).message, "events_with_invalid_fields": {"event": indexes}}
        return json_answer(body, 400)

    def refuse(self, incoming: Incoming, error: ApiError) -> Answer:
        """Where the key is wrong, `Invalid API key:` makes the SDKs stop; where the body is, `missing_field` does: a 400 that
        names nothing they send again as it is, Go's without a rest. A 413 makes them send less at once."""
        status, message = error.code.status, error.message
        if error.code is ErrorCode.BATCH_TOO_LARGE:
            status = 413
        body: dict[str, Any] = {"code": status, "error": message, "request_id": incoming.request_id}
        if status in (401, 403):
            body |= {"code": 400, "error": f"Invalid API key: {message}"}
        elif status == 400:
            body["missing_field"] = error.field or "events"
        elif status == 429:
            body |= _NOBODY_THROTTLED
        return json_answer(body, body["code"])


def _parsed_form(form: dict[str, str]) -> Parsed:
    """A list of events as `e`, the key as `client`, and the time of this try."""
    text, _ = text_of(form["e"].encode("utf-8", "surrogatepass"))
    uploaded = form.get("upload_time", "")
    is_time = uploaded.isascii() and uploaded.isdecimal() and len(uploaded) < 20
    envelope = _Form(form.get("client"), Raw(b"%d" % int(uploaded)) if is_time else Raw())
    return Parsed(read_list(text, _FormEvent), envelope, envelope.api_key, text)


def _parsed_v1(form: dict[str, str], field: str, kind: str) -> Parsed:
    """An event, or a list of them, and the key as `api_key`."""
    text, _ = text_of(form[field].encode("utf-8", "surrogatepass"))
    of_groups = kind == "$groupidentify"
    read = read_list if text.lstrip().startswith(b"[") else read_one
    messages: Messages[Any] = read(text, _GroupOfV1 if of_groups else _Event)
    for event in messages.items:
        if isinstance(event, _GroupOfV1) and (group_type := text_of_id(event.group_type)) and event.group_value:
            event.groups = Raw(encode({group_type: event.group_value}))
        if isinstance(event, _Event):
            event.event_type = kind if of_groups else event.event_type or kind
    envelope = _Envelope(form.get("api_key"))
    return Parsed(messages, envelope, envelope.api_key, text)


def _is_unique(event: _Event) -> bool:
    return is_id(text_of_id(event.insert_id)) or is_exact(bytes(event.time))


def _fields_of(event: _Event, text: bytes) -> dict[str, Raw]:
    """All fields of the event. What nobody knows may hold whatever it does. Raises ApiError."""
    try:
        return _decode_fields(mended(text)[0])
    except FAULTS:
        found = read_fields(text, _KNOWN_OF[type(event)], MAX_UNKNOWN, "The message")
        return {**found.known, **dict.fromkeys(found.unknown, Raw(b'""'))}


def _members(fields: dict[str, Raw]) -> dict[str, bytes]:
    """What stands beside the event's own properties."""
    members: dict[str, bytes] = {}
    context = {
        name: fields[name] for name in _CONTEXT if name in fields and bytes(fields[name]) not in (b"null", b"{}")
    }
    if bytes(context.get("ip", b"")) == b'"$remote"':
        del context["ip"]
    if context:
        members["$context"] = encode(context)
    members.update({name: bytes(fields[name]) for name in _REVENUE if bytes(fields.get(name, b"null")) != b"null"})
    return members


class _Translation:
    """Of one request."""

    def __init__(self, taken: Taken, parsed: Parsed, request_members: list[bytes]) -> None:
        self._taken = taken
        self._request_members = request_members
        self._text_keys = TextKeys(parsed.messages, _is_unique)
        self._sent = time_or_none(parsed.envelope.client_upload_time)

    def add(self, event: _Event, payload: Payload) -> None:
        """Raises ApiError."""
        user, device = text_of_id(event.user_id), text_of_id(event.device_id)
        distinct_id = user if user is not None else device
        fields = _fields_of(event, payload.text)
        self._count_lost(event, fields)
        if event.event_type == "$groupidentify":
            key = self._key(event, payload)
            self._group(event, key)
            if distinct_id is not None:
                self._traits_beside(event, distinct_id, key, payload)
            return
        if distinct_id is None:
            raise ApiError(ErrorCode.MISSING_FIELD, "`user_id` or `device_id` is required.", field="user_id")
        key = self._key(event, payload)
        time, sent = self._time(event)
        if event.event_type == "$identify":
            traits, set_once = self._traits(event.user_properties, "user_properties")
            prior = device if user is not None and device is not None else distinct_id
            self._taken.identify(prior, user, traits, time, key, set_once=set_once, payload=payload)
            self._say_groups(distinct_id, list(self._groups(event.groups)), b"{}", b"{}", time, key)
            return
        properties = self._taken.object_of(event.event_properties, "event_properties")
        members = _members(fields)
        if user is not None and device is not None:
            members["$device_id"] = encode(device)
        all_groups = list(self._groups(event.groups))
        groups = dict(all_groups)
        self._taken.lost["groups"] += len(all_groups) - len(groups)
        if groups:
            members["$groups"] = encode(groups)
        own = _decode_fields(properties) if any(b'"%b"' % name.encode() in properties for name in members) else {}
        added = [encode(name) + b":" + value for name, value in members.items() if name not in own]
        text = self._taken.object_of(
            Raw(with_members(properties, [*added, *self._request_members])), "event_properties"
        )
        self._taken.event(event.event_type, distinct_id, text, time, key, sent)
        self._traits_beside(event, distinct_id, key, payload)

    def _traits_beside(self, event: _Event, distinct_id: str, key: str | None, payload: Payload) -> None:
        """Of the person, in an event or in a message about a group."""
        traits, set_once = self._traits(event.user_properties, "user_properties")
        if traits != b"{}" or set_once != b"{}":
            time, _ = self._time(event)
            self._taken.identify(distinct_id, None, traits, time, key, set_once=set_once, payload=payload)

    def _key(self, event: _Event, payload: Payload) -> str | None:
        """An `insert_id` is one device's. Messages about groups may name no device."""
        insert_id = self._taken.key_of(text_of_id(event.insert_id))
        if insert_id is None:  # as of @amplitude/node, where the app gives none
            return self._text_keys.key_of(payload, bytes(event.time))
        whose = text_of_id(event.device_id) or text_of_id(event.user_id)
        return self._taken.key_of(f"{whose}:{insert_id}") if whose else insert_id

    def _count_lost(self, event: _Event, fields: dict[str, Raw]) -> None:
        """What nobody knows, and what has no place with us."""
        lost = self._taken.lost
        for name in fields.keys() - _KNOWN_OF[type(event)]:
            lost["unknown_field"] += bytes(fields[name]) != b"null"
        for name in _LOST.intersection(fields):
            lost[name] += bytes(fields[name]) not in _NO_OBJECT
        if event.event_type != "$groupidentify":
            lost["group_properties"] += bytes(event.group_properties) not in _NO_OBJECT
        if event.event_type in ("$identify", "$groupidentify"):
            lost["event_properties"] += bytes(event.event_properties) not in _NO_OBJECT

    def _group(self, event: _Event, key: str | None) -> None:
        """Of the groups alone: nobody becomes a member."""
        traits, set_once = self._traits(event.group_properties, "group_properties")
        time, _ = self._time(event)
        groups = list(self._groups(event.groups))
        if not groups:
            raise ApiError(ErrorCode.MISSING_FIELD, "`groups` is required.", field="groups")
        self._say_groups(None, groups, traits, set_once, time, key)

    def _say_groups(
        self,
        distinct_id: str | None,
        groups: list[tuple[str, str]],
        traits: bytes,
        set_once: bytes,
        time: datetime | None,
        key: str | None,
    ) -> None:
        """A message each."""
        self._taken.repeat((len(traits) + len(set_once) + LINE_BYTES) * max(0, len(groups) - 1))
        for number, (group_type, group_key) in enumerate(groups):
            of_group = key and self._taken.key_of(f"{number}:{key}")
            self._taken.group(distinct_id, group_type, group_key, traits, time, of_group, set_once=set_once)

    def _groups(self, value: Raw) -> Iterator[tuple[str, str]]:
        """Types and keys; of a type there may be several."""
        groups = first_members(self._taken.object_of(value, "groups"))
        for group_type, raw in groups.items():
            keys = _decode_any(raw)
            for group_key in keys if isinstance(keys, list) else [keys]:
                text = text_of_id(group_key)
                if text is not None:
                    yield group_type, text

    def _traits(self, value: Raw, name: str) -> tuple[bytes, bytes]:
        """What is set and removed, and what is set once. Without operations all of it is set."""
        text = self._taken.object_of(value, name)
        if text in _NO_OBJECT:
            return b"{}", b"{}"
        fields = first_members(text)
        if not any(operation[:1] == "$" for operation in fields):
            return text, b"{}"
        traits: dict[str, Any] = {}
        set_once = b"{}"
        for operation, operand in fields.items():
            if operation == "$set":
                traits.update(first_members(self._taken.object_of(operand, "$set")))
            elif operation == "$setOnce":
                set_once = self._taken.object_of(operand, "$setOnce")
            elif operation == "$unset":
                traits.update(dict.fromkeys(_decode_fields(self._taken.object_of(operand, "$unset"))))
            elif operation[:1] == "$":
                self._taken.lost[operation if operation in _OPERATIONS else "unknown_operation"] += 1
            else:
                traits[operation] = operand
        return encode(traits), set_once

    def _time(self, event: _Event) -> tuple[datetime | None, str]:
        """`client_upload_time` is of each try."""
        time = time_of(event.time)
        if time is None:
            return None, ""
        right = corrected(time, self._sent, self._taken.now, lambda: True)
        return right, "" if right is time else time.isoformat().replace("+00:00", "Z")


_OPERATIONS = frozenset(["$add", "$append", "$prepend", "$preInsert", "$postInsert", "$remove", "$clearAll"])
